"""Ports that TrafficControls need: created, brought up, and removed when no longer needed, if we created them.

The programmer says which ports are needed. Ports that we created are marked as such (`sluice.role=traffic`), so that a
restart recognises them. A port that fails is reported in the status of the TrafficControls that need it, and retried.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import structlog

from sluice.dataplane.ovs.traffic_ports import DEVICE, INTERNAL, Found, Owner, Wish, missing, removable
from sluice.drivers import links
from sluice.drivers.namespaces import inside
from sluice.drivers.ovsdb.client import NotApplied, Ovsdb, TransactionRefused
from sluice.drivers.ovsdb.monitor import View
from sluice.drivers.ovsdb.operations import NewPort, insert_port, must_exist
from sluice.drivers.ovsdb.pods import POD, UID
from sluice.drivers.ovsdb.roles import IFINDEX, ROLE, TRAFFIC
from sluice.drivers.ovsdb.rows import Bridge, Interface, Port

log = structlog.get_logger()

T = TypeVar("T")


def found_ports(view: View, bridge: str) -> dict[str, Found]:
    """All interfaces in the database, by name."""
    own = {interface.name for interface in view.interfaces(bridge)}
    elsewhere = {name: held for held, name in _on_other_bridges(view, bridge)}
    found = {}
    for row in view.rows.values():
        if isinstance(row, Interface) and (row.name in own or row.name in elsewhere):
            owner, said = _owner(row) if row.name in own else ("bridge", f"bridge {elsewhere[row.name]}")
            kind = "" if row.type == "system" else row.type
            gone = kind == DEVICE and _has_gone(row)
            found[row.name] = Found(row.name, kind, owner, row.ofport, row.error, said, gone)
    return found


class TrafficPorts:
    """Brings the database to the wished state, one change at a time."""

    def __init__(self, run_dir: Path, bridge: str) -> None:
        self._run_dir, self._bridge = run_dir, bridge
        self.refused: dict[str, str] = {}
        """Why ports could not be created, by name."""

    def differs(self, wishes: Mapping[str, Wish], found: Mapping[str, Found]) -> bool:
        """True if there is something to create or remove that was not refused before."""
        return bool(removable(found, wishes)) or any(one.name not in self.refused for one in missing(found, wishes))

    async def bring(self, wishes: Mapping[str, Wish], found: Mapping[str, Found], *, remove: bool) -> None:
        """Create missing ports, bring internal ports up, and, if `remove` is set, remove those no longer needed.

        Raises:
            OSError, RpcGone: the database is away.
        """
        gone = removable(found, wishes) if remove else frozenset()
        new = missing({name: one for name, one in found.items() if name not in gone}, wishes)
        refused: dict[str, str] = {}
        if gone or new:
            ovsdb = await Ovsdb.connect(self._run_dir / "db.sock")
            try:
                if gone:
                    await ovsdb.delete_ports(self._bridge, gone)
                    log.info("traffic_ports_removed", ports=sorted(gone))
                for wish in new:
                    if (reason := await self._make(ovsdb, wish)) is not None:
                        refused[wish.name] = reason
            except NotApplied as error:
                log.warning("traffic_ports_wait", error=str(error))
            finally:
                ovsdb.close()
        if refused and refused != self.refused:
            log.warning("traffic_ports_refused", **refused)
        self.refused = refused
        await self._raise(name for name, one in found.items() if name in wishes and one.type == INTERNAL and one.ofport)

    async def _make(self, ovsdb: Ovsdb, wish: Wish) -> str | None:
        """Add the port; returns the reason if that fails."""
        ids = {ROLE: TRAFFIC}
        if wish.type == DEVICE:
            claimed = await self._claimed(wish.name)
            if isinstance(claimed, str):
                return claimed
            ids[IFINDEX] = str(claimed)
        port = NewPort(name=wish.name, type=wish.type, options=dict(wish.options), external_ids=ids)
        try:
            await ovsdb.change(must_exist("Bridge", self._bridge), *insert_port(self._bridge, port))
        except TransactionRefused as error:
            return f"{wish.words}: {error}"
        log.info("traffic_port_made", port=wish.name, type=wish.type, options=dict(wish.options))
        return None

    async def _claimed(self, device: str) -> str | int:
        """Return the device's index, or the reason why it must not be attached."""

        def look() -> str | int:
            try:
                address, index = links.address_of(device), socket.if_nametoindex(device)
                master = links.master_of(device)
            except OSError as error:
                return f"device {device}: {error.strerror}; it must exist on every node of the Pods"
            if address is not None:
                return f"device {device} has the address {address}, so the node uses it itself; choose another"
            if master is not None:
                return f"device {device} belongs to {master}; remove it from there, or choose another"
            return index

        return await asyncio.to_thread(self._in_namespace, look)

    async def _raise(self, names: Iterable[str]) -> None:
        def bring_up() -> None:
            for name in names:
                try:
                    links.raise_link(name)
                except OSError as error:
                    log.warning("traffic_port_stays_down", port=name, error=str(error))

        await asyncio.to_thread(self._in_namespace, bring_up)

    def _in_namespace(self, function: Callable[[], T]) -> T:
        """Call the function in the network namespace where the switch looks for devices."""
        return inside(links.namespace_of(self._run_dir / "ovs-vswitchd.pid"), function)


def _has_gone(interface: Interface) -> bool:
    """The device is not the one the port was opened for; the switch only sees the traffic of that one."""
    if interface.ofport is None or interface.ifindex is None:  # it is being opened
        return False
    return interface.ifindex == 0 or interface.external_ids.get(IFINDEX, "") not in ("", str(interface.ifindex))


def _owner(interface: Interface) -> tuple[Owner, str]:
    ids = interface.external_ids
    if ids.get(ROLE) == TRAFFIC:
        return "ours", ""
    if ROLE in ids:
        return "role", ids[ROLE]
    if UID in ids:
        return "pod", ids.get(POD, "")
    return "somebody", ""


def _on_other_bridges(view: View, bridge: str) -> Iterable[tuple[str, str]]:
    """Yields bridge and interface names."""
    for row in view.rows.values():
        if isinstance(row, Bridge) and row.name != bridge:
            for port in map(view.rows.get, row.ports):
                for interface in map(view.rows.get, port.interfaces) if isinstance(port, Port) else ():
                    if isinstance(interface, Interface):
                        yield row.name, interface.name
