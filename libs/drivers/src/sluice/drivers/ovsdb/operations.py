"""Operations of a transaction. Source: RFC 7047 section 5.2."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from sluice.drivers.ovsdb.rows import as_map, as_set

Operation = dict[str, Any]

ROOT = "Open_vSwitch"
"""The one-row table that all others hang from; rows that nothing refers to are garbage collected."""


class NewPort(Struct, frozen=True, kw_only=True):
    """A port to add to a bridge, with its one interface of the same name."""

    name: str
    external_ids: Mapping[str, str] = {}

    ofport: int | None = None
    """The OpenFlow port number to request, 1..65279; ovs-vswitchd assigns another if it is taken."""

    type: str = ""
    """`internal`, `geneve` and the like; unset means an existing device with the port's name."""

    options: Mapping[str, str] = {}


def identity(table: str, name: str) -> Operation:
    """The _uuid of the rows called `name`."""
    return {"op": "select", "table": table, "where": [["name", "==", name]], "columns": ["_uuid"]}


def root_columns(*columns: str) -> Operation:
    return {"op": "select", "table": ROOT, "where": [], "columns": list(columns)}


def insert_root() -> Operation:
    return {"op": "insert", "table": ROOT, "row": {}}


def next_configuration() -> Operation:
    """Ask ovs-vswitchd to report in cur_cfg when it has applied this transaction."""
    return {"op": "mutate", "table": ROOT, "where": [], "mutations": [["next_cfg", "+=", 1]]}


def insert_port(bridge: str, port: NewPort, number: int = 0) -> list[Operation]:
    """Add the port to an existing bridge; `number` distinguishes the ports of one transaction."""
    return [*_port(port, number), _attach("Bridge", [["name", "==", bridge]], "ports", f"port{number}")]


def insert_bridge(name: str, settings: Mapping[str, Any]) -> list[Operation]:
    """Add a bridge with its local port, which has the same name."""
    row = {"name": name, "ports": ["named-uuid", "port0"], **settings}
    return [
        *_port(NewPort(name=name, type="internal"), 0),
        {"op": "insert", "table": "Bridge", "row": row, "uuid-name": "bridge"},
        _attach(ROOT, [], "bridges", "bridge"),
    ]


def set_other_config(keys: Mapping[str, str]) -> Operation:
    """Set these keys of the root's other_config, replacing their values; other keys stay."""
    gone, there = ["other_config", "delete", as_set(list(keys))], ["other_config", "insert", as_map(keys)]
    return {"op": "mutate", "table": ROOT, "where": [], "mutations": [gone, there]}


def update_bridge(name: str, settings: Mapping[str, Any]) -> Operation:
    return {"op": "update", "table": "Bridge", "where": [["name", "==", name]], "row": dict(settings)}


def detach(table: str, where: list[Any], column: str, rows: list[Any]) -> Operation:
    """Remove references from a set; rows without any reference are garbage collected."""
    return {"op": "mutate", "table": table, "where": where, "mutations": [[column, "delete", as_set(rows)]]}


def must_exist(table: str, name: str) -> Operation:
    """Abort the transaction unless the row exists: mutating no rows would succeed."""
    return {
        "op": "wait",
        "table": table,
        "where": [["name", "==", name]],
        "columns": ["name"],
        "until": "==",
        "rows": [{"name": name}],
        "timeout": 0,
    }


def refusal(operation: Operation, result: Mapping[str, Any]) -> str:
    """A readable reason why the operation was refused."""
    if operation["op"] == "wait" and result["error"] == "timed out":
        return f"there is no {operation['table']} called {operation['rows'][0]['name']}: add it first"
    what = " ".join(str(operation[part]) for part in ("op", "table", "where") if part in operation)
    return f"{what}: {result['error']}: {result.get('details', 'no details')}"


def _port(port: NewPort, number: int) -> list[Operation]:
    interface = {
        "name": port.name,
        "type": port.type,
        "external_ids": as_map(port.external_ids),
        "options": as_map(port.options),
        "ofport_request": as_set([] if port.ofport is None else [port.ofport]),
    }
    row = {"name": port.name, "interfaces": ["named-uuid", f"interface{number}"]}
    return [
        {"op": "insert", "table": "Interface", "row": interface, "uuid-name": f"interface{number}"},
        {"op": "insert", "table": "Port", "row": row, "uuid-name": f"port{number}"},
    ]


def _attach(table: str, where: list[Any], column: str, named: str) -> Operation:
    mutation = [column, "insert", ["named-uuid", named]]
    return {"op": "mutate", "table": table, "where": where, "mutations": [mutation]}
