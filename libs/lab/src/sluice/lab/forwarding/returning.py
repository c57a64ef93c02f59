"""A host at the end of a tunnel that returns the inner frames to the sending node through another tunnel."""

import socket
from collections.abc import Callable

from sluice.dataplane import frame
from sluice.lab.capture.tunnels import GRE, GRE_KEY, VXLAN_VNI, Carried, Proto, opened
from sluice.lab.forwarding.order import Order

SOURCE_PORT = 49_152
"""Source port of returned packets; nobody answers to it."""


def sender(order: Order) -> Callable[[bytes], None]:
    """A function that sends the inner frame of a frame back; frames from no tunnel are ignored."""
    ports: dict[int, Proto] = {port: _proto(kind) for port, kind in order.ports.items()}
    sockets: dict[int, socket.socket] = {}

    def send(octets: bytes) -> None:
        found = opened(frame.read(octets), ports)
        if found is None:
            return
        tunnel, carried = found
        version = 6 if ":" in tunnel.source else 4
        if version not in sockets:
            sockets[version] = _socket(version, order)
        sockets[version].sendto(header(order) + carried, (tunnel.source, order.port))

    return send


def header(order: Order) -> bytes:
    """The headers in front of the inner frame."""
    match order.back:
        case "vxlan":
            return bytes((VXLAN_VNI, 0, 0, 0)) + order.vni.to_bytes(3, "big") + b"\0"
        case "geneve":
            return bytes(2) + Carried.ETHERNET.to_bytes(2, "big") + order.vni.to_bytes(3, "big") + b"\0"
        case _:
            flags, key = (0, b"") if order.key is None else (GRE_KEY, order.key.to_bytes(4, "big"))
            return flags.to_bytes(2, "big") + Carried.ETHERNET.to_bytes(2, "big") + key


def _socket(version: int, order: Order) -> socket.socket:
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    if order.back == "gre":
        return socket.socket(family, socket.SOCK_RAW, GRE)
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind(("", SOURCE_PORT))
    return sock


def _proto(kind: str) -> Proto:
    match kind:
        case "geneve" | "vxlan" | "gre" | "erspan":
            return kind
    raise AssertionError(kind)
