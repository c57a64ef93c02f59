"""The lab's DNS servers: one for its nodes, in the lab's own process, and outside hosts for its Pods."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from sluice.contracts.ids import Address
from sluice.lab.parts import Family
from sluice.lab.records import Records, answered

HOSTS: Mapping[str, Address] = MappingProxyType({"dns.4": Address("203.0.113.53"), "dns.6": Address("2001:db8:53::53")})
"""Under names that no host of a scenario can have. Source: RFC 5737, RFC 3849 (addresses for documentation)."""

SERVERS: Mapping[Family, Address] = MappingProxyType({"IPv4": HOSTS["dns.4"], "IPv6": HOSTS["dns.6"]})


class NodesServer(asyncio.DatagramProtocol):
    """Answers all queries on this machine, over UDP."""

    def __init__(self) -> None:
        self.records: Records = {}
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, ("127.0.0.1", 0))
        self._transport, self.port = transport, transport.get_extra_info("sockname")[1]

    def stop(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        answer = answered(self.records, data, udp=True)
        if answer and self._transport is not None:
            self._transport.sendto(answer, addr)
