"""A TCP port for a program that needs its port number in advance and listens a moment later.

A port chosen by the kernel could also be given to the next client that connects; the kernel never chooses these.
"""

import contextlib
import random
import socket

PORTS = range(20_000, 30_000)
"""Kernels choose from 32,768 up (Linux, ip_local_port_range) or 49,152 (RFC 6335); NodePorts are 30,000 to 32,767."""

TRIES = 1_000


def free_port() -> int:
    """A port on which nobody listens on 127.0.0.1.

    Raises:
        OSError: there is none.
    """
    for port in random.sample(PORTS, min(TRIES, len(PORTS))):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError(
        f"127.0.0.1: all ports from {PORTS[0]} to {PORTS[-1]} that were tried are taken: who listens on them?"
    )
