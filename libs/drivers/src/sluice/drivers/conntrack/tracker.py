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
"""What stands before a flush's fields: nothing for the original direction, an empty original tuple for the reply."""

FLUSHES = 20
"""Rounds of one flush. Each leaves at most half of what it was to remove, and in practice a tenth."""


class NotForgotten(CommandRefused):
    """Connections of an address were still there after they were flushed."""


class Tracker:
    """Makes a connection for each command; there are few."""

    def __init__(self, control: Path) -> None:
        self._control = control

    async def flush(self, zone: int, addresses: Iterable[Address]) -> None:
        """No packet of these addresses belongs to a connection of the zone that was there before.

        An address counts in either direction and at either end, before and after translation. Established connections
        of others stay.

        A flush walks through a table that shrinks as it goes, and misses what moves behind its back: of 6,000
        connections 510 were left. So this looks again until there are none.

        Raises:
            CommandRefused, OSError, RpcGone: see unixctl.
            NotForgotten: some are still there after FLUSHES rounds.
        """
        left = frozenset(addresses)
        for _ in range(FLUSHES):
            if not left:
                return
            for address in sorted(left):
                await self._flush(zone, address)
            left &= {address for entry in await self.entries(zone) for address in entry.addresses}
        if left:
            raise NotForgotten(
                f"{self._control}: {', '.join(sorted(left))}: connections remain: is the tracker flooded?"
            )

    async def _flush(self, zone: int, address: Address) -> None:
        family = "ct_nw" if ip_address(address).version == 4 else "ct_ipv6"
        for before in TUPLES:
            for end in ("src", "dst"):
                fields = f"{family}_{end}={address}"
                await command(self._control, "dpctl/flush-conntrack", f"zone={zone}", *before, fields)

    async def flush_zone(self, zone: int) -> None:
        """The zone remembers no connection that was there before."""
        await command(self._control, "dpctl/flush-conntrack", f"zone={zone}")

    async def entries(self, zone: int | None = None) -> tuple[Entry, ...]:
        """What is remembered, in one zone or in all.

        Raises:
            CommandRefused, OSError, RpcGone: see unixctl.
            NotAnEntry: Open vSwitch prints what we do not know.
        """
        arguments = [] if zone is None else [f"zone={zone}"]
        printed = await command(self._control, "dpctl/dump-conntrack", *arguments)
        return tuple(parse(line) for line in printed.splitlines() if line)
