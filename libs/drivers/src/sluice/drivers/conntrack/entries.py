"""One tracked connection, parsed from its line of dpctl/dump-conntrack output."""

from re import compile as pattern

from msgspec import Struct

from sluice.contracts.ids import Address


class Tuple(Struct, frozen=True, order=True):
    """The packets of one direction of a connection."""

    source: Address
    destination: Address
    source_port: int | None
    """Unset for ICMP."""
    destination_port: int | None


class Entry(Struct, frozen=True):
    protocol: str
    """`tcp`, `udp`, `icmp`, … as ovs-appctl prints it."""
    original: Tuple
    reply: Tuple
    zone: int
    mark: int
    label: int
    """128 bits."""
    state: str | None
    """TCP only, such as ESTABLISHED."""

    @property
    def addresses(self) -> frozenset[Address]:
        """All addresses in the connection's packets, translated or not."""
        return frozenset(
            {self.original.source, self.original.destination, self.reply.source, self.reply.destination},
        )


class NotAnEntry(ValueError):
    """A line that does not describe a connection."""


_DIRECTION = pattern(r"(orig|reply)=\(([^)]*)\)")
_VALUE = pattern(r"(?:^|[,(])(\w+)=([^,()]+)")


def parse(line: str) -> Entry:
    """The connection described by the line.

    Raises:
        NotAnEntry
    """
    directions = {name: dict(_VALUE.findall(inside)) for name, inside in _DIRECTION.findall(line)}
    rest = dict(_VALUE.findall(_DIRECTION.sub("", line)))
    try:
        return Entry(
            protocol=line.split(",", 1)[0],
            original=_tuple(directions["orig"]),
            reply=_tuple(directions["reply"]),
            zone=int(rest.get("zone", "0"), 0),
            mark=int(rest.get("mark", "0"), 0),
            label=int(rest.get("labels", "0"), 0),
            state=rest.get("state"),
        )
    except (KeyError, ValueError) as error:
        raise NotAnEntry(f"dpctl/dump-conntrack: {line!r} is no connection: {error!r}") from error


def _tuple(values: dict[str, str]) -> Tuple:
    ports = [int(values[name]) if name in values else None for name in ("sport", "dport")]
    return Tuple(Address(values["src"]), Address(values["dst"]), *ports)
