"""Checks with packets whether a tenant has exactly the expected rules.

The engine's own answers about its tenants prove nothing. So two UDP packets are sent to the VLAN through the switch, as
all packets are: one that only these rules drop, then one that passes. If the second comes out of the engine and the
first does not, the rules are in force.
"""

import asyncio
import secrets
import socket
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from sluice.dataplane.l7.ruleset import proof
from sluice.dataplane.ovs.flow import Output
from sluice.drivers.namespaces import inside
from sluice.drivers.openflow.switch import Switch
from sluice.drivers.suricata.taps import opened

ETH_P_ALL = 0x0003
"""Source: linux/if_ether.h."""

TRY_S = 0.25
"""For a packet through the engine; an idle engine takes less than a millisecond."""

ADDRESS = "192.0.2.1"
"""Source and destination: TEST-NET-1 (RFC 5737), assigned to nobody."""

CONTROL = b"sluice-l7-control-"
TOKEN = 16
"""Trailing bytes that identify a packet."""

MOST = 32
"""VLANs per question: they cause twice as many packets, which the listening socket has to buffer."""

DISCARD = 9
"""The port of the discard protocol. Source: RFC 863."""


def frame(vlan: int, payload: bytes) -> bytes:
    """A UDP packet with a VLAN tag; optional checksums are left out."""
    address = socket.inet_aton(ADDRESS)
    udp = struct.pack("!HHHH", DISCARD, DISCARD, 8 + len(payload), 0) + payload
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, address, address)
    ip = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    ethernet = bytes.fromhex("020000000001 020000000002".replace(" ", ""))
    return ethernet + struct.pack("!HHH", 0x8100, vlan, 0x0800) + ip + udp


def _checksum(head: bytes) -> int:
    """Source: RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(head) // 2}H", head))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Prober:
    """Observes the packets that come out of the engine."""

    def __init__(self, tap_out: str, netns: Path | None = None) -> None:
        """Listen at the engine's output port in the namespace (None: the current one).

        Raises:
            OSError: there is no such interface, or permission to capture is missing.
        """
        self._socket = inside(netns, lambda: opened(tap_out, ETH_P_ALL))

    def close(self) -> None:
        self._socket.close()

    async def shown(self, switch: Switch, port_in: int, digests: Mapping[int, str]) -> frozenset[int]:
        """The VLANs that have the rule set with this digest. One question at a time, for up to MOST VLANs.

        If two VLANs have equal rule sets and one of them is not loaded, neither is shown.
        """
        self._drain()
        asked = {secrets.token_hex(8).encode(): vlan for vlan in digests}
        for token, vlan in asked.items():
            for payload in (proof(digests[vlan]), CONTROL + token):  # if both come out, they do so in this order
                switch.send_packet(frame(vlan, payload), (Output(port_in),))
        came: set[int] = set()
        passed: set[str] = set()
        with suppress(TimeoutError):
            async with asyncio.timeout(TRY_S):
                while len(came) < len(asked):
                    packet = await asyncio.get_running_loop().sock_recv(self._socket, 1 << 16)
                    _, control, rest = packet.partition(CONTROL)
                    if control:
                        came |= {vlan for vlan in (asked.get(rest[:TOKEN]),) if vlan is not None}
                    else:
                        passed |= {digest for digest in digests.values() if proof(digest) in packet}
        return frozenset(vlan for vlan in came if digests[vlan] not in passed)

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while self._socket.recv(1 << 16):
                pass
