"""The parent of all probers: reads orders and forks a child for each."""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path

from sluice.lab.prober.asking import Desk, Json
from sluice.lab.prober.loop import Loop
from sluice.lab.prober.naming import NameServer
from sluice.lab.prober.sctp import Endpoints
from sluice.lab.prober.serving import serve
from sluice.lab.prober.sockets import EVERY_PORT

CLONE_NEWNET = 0x40000000
"""Source: linux/sched.h."""

CERTIFICATE = "server.pem"
"""Shared by all Pods of a lab, beside their sockets."""


def settle(loop: Loop, order: Json) -> None:
    """Become the Pod: enter its namespace, serve, listen for requests.

    Raises:
        OSError: the namespace does not exist, or a port is taken.
    """
    if order["netns"]:
        namespace = os.open(order["netns"], os.O_RDONLY | os.O_CLOEXEC)
        if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"{order['netns']}: {os.strerror(ctypes.get_errno())}")
        os.close(namespace)
    endpoints = Endpoints(loop)
    certificate = Path(order["socket"]).with_name(CERTIFICATE)
    for port in order["ports"]:
        try:
            serve(loop, port, certificate)
            endpoints.serve(port)
        except OSError as error:
            raise OSError(error.errno, f"port {port}: {os.strerror(error.errno or 0)}") from error
    if order.get("every_sctp_port"):
        endpoints.serve(EVERY_PORT)
    Desk(loop, order["socket"], endpoints, NameServer(loop) if order.get("serves_names") else None)


def live(order: Json) -> None:
    """The whole life of a child."""
    loop = Loop()
    try:
        settle(loop, order)
    except OSError as error:
        say(failed=order["start"], reason=error.strerror)
        os._exit(1)
    say(started=order["start"], pid=os.getpid())
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)  # otherwise the reader of our replies would wait for us to end
    loop.run()


def say(**answer: object) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")  # one write, so that lines of several children do not mix


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the lab decides when it ends
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for children: let the kernel reap them
    for line in sys.stdin.buffer:
        order = json.loads(line)
        if os.fork() == 0:
            live(order)


if __name__ == "__main__":
    main()
