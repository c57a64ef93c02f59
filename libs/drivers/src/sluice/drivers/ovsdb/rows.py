"""Rows of the Open_vSwitch database as values.

In the protocol, a set of one element is written as the bare element and a map as a list of pairs; here each column has
its natural type. Source: ovs-vswitchd.conf.db(5) for the columns, RFC 7047 section 5.1 for the notation.
"""

from collections.abc import Mapping
from typing import Any, NewType

from msgspec import Struct

RowId = NewType("RowId", str)
"""The _uuid of a row."""


class Bridge(Struct, frozen=True):
    id: RowId
    name: str
    ports: frozenset[RowId]
    protocols: frozenset[str]


class Port(Struct, frozen=True):
    id: RowId
    name: str
    interfaces: frozenset[RowId]
    tag: int | None


class Interface(Struct, frozen=True):
    """A port of the switch as the datapath sees it; except for bonds, its Port has the same name."""

    id: RowId
    name: str
    ofport: int | None
    """Its OpenFlow port number; unset before ovs-vswitchd has assigned one, and if it could not (then see `error`)."""

    external_ids: Mapping[str, str]
    type: str
    admin_state: str | None
    """`up` or `down`; unset while the interface does not exist."""

    link_state: str | None
    """`up` or `down`; unset while the interface does not exist."""

    error: str | None
    """Why ovs-vswitchd could not open the interface."""

    ifindex: int | None
    """Of the device; 0 once the device is gone, though `ofport` is still set and `error` is not (measured, 3.1.0)."""


class Switch(Struct, frozen=True):
    """The one row of the table Open_vSwitch; it says which request ovs-vswitchd has applied."""

    id: RowId
    cur_cfg: int


Row = Bridge | Port | Interface | Switch

COLUMNS: Mapping[str, tuple[str, ...]] = {
    "Bridge": ("name", "ports", "protocols"),
    "Port": ("name", "interfaces", "tag"),
    "Interface": ("name", "ofport", "external_ids", "type", "admin_state", "link_state", "error", "ifindex"),
    "Open_vSwitch": ("cur_cfg",),
}
"""The columns to request of each table; `row` needs all of them."""


def row(table: str, row_id: RowId, columns: Mapping[str, Any]) -> Row:
    """The row of `table` with these columns, as ovsdb-server writes them; all of COLUMNS must be there."""
    match table:
        case "Bridge":
            return Bridge(
                id=row_id,
                name=columns["name"],
                ports=references(columns["ports"]),
                protocols=frozenset(elements(columns["protocols"])),
            )
        case "Port":
            return Port(row_id, columns["name"], references(columns["interfaces"]), optional(columns["tag"]))
        case "Interface":
            ofport = optional(columns["ofport"])
            return Interface(
                id=row_id,
                name=columns["name"],
                ofport=None if ofport == -1 else ofport,  # -1: it could not be opened
                external_ids=dict(columns["external_ids"][1]),
                type=columns["type"],
                admin_state=optional(columns["admin_state"]),
                link_state=optional(columns["link_state"]),
                error=optional(columns["error"]),
                ifindex=optional(columns["ifindex"]),
            )
        case "Open_vSwitch":
            return Switch(row_id, columns["cur_cfg"])
        case _:
            raise ValueError(f"table {table}: not one of {', '.join(COLUMNS)}")


def elements(value: Any) -> list[Any]:
    """The elements of a set."""
    if isinstance(value, list) and value[0] == "set":
        return list(value[1])
    return [value]


def optional(value: Any) -> Any:
    """The element of a set of at most one, or None."""
    found = elements(value)
    return found[0] if found else None


def references(value: Any) -> frozenset[RowId]:
    """The rows that a set of ["uuid", id] refers to."""
    return frozenset(RowId(reference[1]) for reference in elements(value))


def as_map(value: Mapping[str, str]) -> list[Any]:
    return ["map", [[name, value[name]] for name in sorted(value)]]


def as_set(values: list[Any]) -> list[Any]:
    return ["set", values]
