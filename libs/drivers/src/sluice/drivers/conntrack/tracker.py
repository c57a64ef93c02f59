"""The connection tracker of a node's userspace datapath, through ovs-vswitchd's control socket.

Source: ovs-dpctl(8), commands dump-conntrack and flush-conntrack; ovs-fields(7) for the names in a flush.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from pathlib import Path

from sluice.contracts.ids import Address
from sluice.drivers.conntrack.entries import Entry, parse
from sluice.drivers.unixctl import CommandRefused, command

TUPLES = ((), ("",))
"""Arguments before the fields of a flush: none for the original direction, an empty original tuple for the reply."""

ICMPV6 = "icmpv6"
NUMBERS = {"igmp": 2, "tcp": 6, "udp": 17, "dccp": 33, "sctp": 132, "udplite": 136}
"""Protocols that dump-conntrack prints by name; it prints others as numbers. Source: Open vSwitch lib/ct-dpif.c, and
IANA."""

FLUSHES = 20
"""Rounds of one flush. Each leaves at most half of the connections it should remove, a tenth in practice."""


class NotForgotten(CommandRefused):
    """Connections of an address still exist after they were flushed."""


class Tracker:
    """Opens a connection for each command; there are few."""

    def __init__(self, control: Path) -> None:
        self._control = control

    async def flush(self, zone: int, addresses: Iterable[Address]) -> frozenset[Address]:
        """Remove the zone's connections with these addresses; returns the addresses that still have ICMPv6 connections.

        An address counts in either direction and at either end, before and after translation. Other established
        connections stay. ICMPv6 connections are left: they cannot be removed one by one (Open vSwitch 3.1.0 aborts).
        They end a minute after their last packet, or with `flush_zone`.

        A flush walks a table that shrinks meanwhile and misses entries that move behind it: of 6,000 connections 510
        were left. Therefore this repeats until none is left.

        Raises:
            CommandRefused, OSError, RpcGone: see unixctl.
            NotForgotten: some are still there after FLUSHES rounds.
        """
        wanted = frozenset(addresses)
        if not wanted:
            return wanted
        left: list[tuple[Address, str]] = []
        for _ in range(FLUSHES):
            entries = await self.entries(zone)
            held = {(address, entry.protocol) for entry in entries for address in entry.addresses & wanted}
            left = sorted((address, protocol) for address, protocol in held if protocol != ICMPV6)
            if not left:
                return frozenset(address for address, _ in held)
            for fields in sorted({_selecting(address, protocol) for address, protocol in left}):
                await self._flush(zone, fields)
        raise NotForgotten(
            f"{self._control}: {', '.join(sorted({address for address, _ in left}))}: connections remain: "
            f"is the tracker flooded?"
        )

    async def _flush(self, zone: int, fields: str) -> None:
        for before in TUPLES:
            for end in ("src", "dst"):
                await command(self._control, "dpctl/flush-conntrack", f"zone={zone}", *before, fields.format(end=end))

    async def forget_udp(self, zone: int, endpoints: Iterable[tuple[Address, int]]) -> None:
        """Remove the zone's UDP connections to these endpoints.

        Otherwise a client that keeps sending from one port would never reach another endpoint. TCP notices by itself.

        Raises:
            CommandRefused, OSError, RpcGone: see unixctl.
            NotForgotten: some are still there after FLUSHES rounds.
        """
        left = frozenset(endpoints)
        for _ in range(FLUSHES):
            if not left:
                return
            for address, port in sorted(left):
                family = "ct_nw" if ip_address(address).version == 4 else "ct_ipv6"
                answers = f"{family}_src={address},ct_nw_proto=17,ct_tp_src={port}"
                await command(self._control, "dpctl/flush-conntrack", f"zone={zone}", "", answers)
            held = [entry.reply for entry in await self.entries(zone) if entry.protocol == "udp"]
            left &= {(one.source, one.source_port) for one in held if one.source_port is not None}
        if left:
            raise NotForgotten(f"{self._control}: {sorted(left)}: UDP connections remain: is the tracker flooded?")

    async def forget(self, zone: int, connections: Iterable[Entry]) -> None:
        """Remove these TCP and UDP connections. One with the same tuple but another label counts as a new one.

        Raises:
            CommandRefused, OSError, RpcGone: see unixctl.
            NotForgotten: some are still there after FLUSHES rounds.
        """
        left = {(entry.protocol, entry.original): entry for entry in connections}
        for _ in range(FLUSHES):
            if not left:
                return
            for protocol, asks in sorted(left):
                family = "ct_nw" if ip_address(asks.source).version == 4 else "ct_ipv6"
                fields = (
                    f"{family}_src={asks.source},{family}_dst={asks.destination},ct_nw_proto={NUMBERS[protocol]},"
                    f"ct_tp_src={asks.source_port},ct_tp_dst={asks.destination_port}"
                )
                await command(self._control, "dpctl/flush-conntrack", f"zone={zone}", fields)
            there = {(entry.protocol, entry.original): entry for entry in await self.entries(zone)}
            left = {key: entry for key, entry in left.items() if key in there and there[key].label == entry.label}
        if left:
            raise NotForgotten(f"{self._control}: {sorted(left)}: connections remain: is the tracker flooded?")

    async def flush_zone(self, zone: int) -> None:
        """Remove all connections of the zone."""
        await command(self._control, "dpctl/flush-conntrack", f"zone={zone}")

    async def entries(self, zone: int | None = None) -> tuple[Entry, ...]:
        """The tracked connections, of one zone or of all.

        Raises:
            CommandRefused, OSError, RpcGone: see unixctl.
            NotAnEntry: Open vSwitch printed something unknown.
        """
        arguments = [] if zone is None else [f"zone={zone}"]
        printed = await command(self._control, "dpctl/dump-conntrack", *arguments)
        return tuple(parse(line) for line in printed.splitlines() if line)


def _selecting(address: Address, protocol: str) -> str:
    """The fields of a flush, with a placeholder for the end that has the address.

    Over IPv4 one flush covers all protocols, since ICMP cannot be selected without its type. Over IPv6 there is one
    flush per protocol, to leave ICMPv6 out.
    """
    if ip_address(address).version == 4:
        return f"ct_nw_{{end}}={address}"
    return f"ct_ipv6_{{end}}={address},ct_nw_proto={NUMBERS.get(protocol, protocol)}"
