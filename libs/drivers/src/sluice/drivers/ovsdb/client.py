"""A connection to ovsdb-server: transactions, monitors, and the few changes that we make."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, Self

from sluice.drivers.jsonrpc import KEEPALIVE_S, JsonRpc, RpcGone
from sluice.drivers.ovsdb import operations
from sluice.drivers.ovsdb.monitor import Monitor
from sluice.drivers.ovsdb.operations import ROOT, NewPort, Operation
from sluice.drivers.ovsdb.rows import COLUMNS, Interface, as_map, as_set

DATABASE = "Open_vSwitch"

PROTOCOLS = ("OpenFlow10", "OpenFlow13", "OpenFlow14", "OpenFlow15")
"""We use 1.5; the others let people run ovs-ofctl without options."""

APPLY_TIMEOUT_S = 10.0
"""For ovs-vswitchd to apply a change: a hundred new ports take 0.1 s."""


class TransactionRefused(Exception):
    """ovsdb-server refused the transaction; nothing was changed."""


class PortFailed(Exception):
    """ovs-vswitchd could not open an interface."""


class NotApplied(Exception):
    """The change is in the database, but ovs-vswitchd has not applied it in time: it may be dead."""


class Ovsdb:
    """One connection. It does not reconnect by itself: its owner must then read everything again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rpc: JsonRpc | None = None
        self._monitors: dict[str, Monitor] = {}
        self._numbers = count(1)

    @classmethod
    async def connect(cls, path: Path, *, keepalive_s: float = KEEPALIVE_S) -> Self:
        """Connect to ovsdb-server's socket (db.sock).

        Raises:
            OSError, TimeoutError: nobody listens there, or the server does not accept in time.
        """
        ovsdb = cls(path)
        ovsdb._rpc = await JsonRpc.connect(path, ovsdb._notice, keepalive_s=keepalive_s)
        ovsdb._rpc.closed.add_done_callback(ovsdb._end)
        return ovsdb

    @property
    def rpc(self) -> JsonRpc:
        assert self._rpc is not None, "made by connect()"
        return self._rpc

    @property
    def closed(self) -> asyncio.Future[str]:
        """Done when the connection has ended; its result is the reason. Never raises."""
        return self.rpc.closed

    def close(self) -> None:
        self.rpc.close()

    async def transact(self, *asked: Operation) -> list[dict[str, Any]]:
        """The results of the operations, all of which were carried out.

        Raises:
            TransactionRefused: nothing was carried out; says why.
            RpcGone: the connection ended; whether they were carried out is unknown.
        """
        results = await self.rpc.call("transact", [DATABASE, *asked])
        for number, result in enumerate(results):
            if result and result.get("error"):  # null follows the refused one; a refused commit comes last
                one = asked[number] if number < len(asked) else {"op": "commit"}
                raise TransactionRefused(f"{self._path}: {operations.refusal(one, result)}")
        return list(results)

    async def monitor(self, *tables: str) -> Monitor:
        """The contents and changes of these tables (default: all of rows.COLUMNS)."""
        name = f"monitor-{next(self._numbers)}"
        monitor = self._monitors[name] = Monitor()
        requests = {table: {"columns": list(COLUMNS[table])} for table in tables or COLUMNS}
        try:
            rows = await self.rpc.call("monitor", [DATABASE, name, requests])
        except BaseException:
            del self._monitors[name]
            raise
        monitor.begin(rows)
        return monitor

    async def stop(self, monitor: Monitor) -> None:
        """Cancel the monitor; its iteration ends as if the connection had ended."""
        for name in [name for name, known in self._monitors.items() if known is monitor]:
            del self._monitors[name]
            monitor.take(RpcGone(f"{self._path}: the monitor was stopped"))
            if not self.closed.done():
                await self.rpc.call("monitor_cancel", [name])

    # -------------------------------------------------------------------------------------------- bridges and ports

    async def ensure_bridge(
        self,
        name: str,
        *,
        datapath_type: str = "netdev",
        fail_mode: str = "secure",
        protocols: Sequence[str] = PROTOCOLS,
    ) -> None:
        """Create the bridge if needed, with these settings, and wait until ovs-vswitchd has applied it.

        Raises:
            TransactionRefused, NotApplied
        """
        settings = {"datapath_type": datapath_type, "fail_mode": fail_mode, "protocols": as_set(list(protocols))}
        found, root = await self.transact(operations.identity("Bridge", name), operations.root_columns("_uuid"))
        if not root["rows"]:  # `ovs-vsctl init` was never run
            await self.transact(operations.insert_root())
        if found["rows"]:
            await self.change(operations.update_bridge(name, settings))
        else:
            await self.change(*operations.insert_bridge(name, settings))

    async def set_vlan_limit(self, tags: int) -> None:
        """Make ovs-vswitchd parse this many VLAN tags per packet, from its next start on.

        At its start ovs-vswitchd probes how many tags its datapath supports, up to the limit configured then, and keeps
        to that. Source: ovs-vswitchd.conf.db(5), Open_vSwitch, other_config:vlan-limit.
        """
        (root,) = await self.transact(operations.root_columns("_uuid"))
        if not root["rows"]:
            await self.transact(operations.insert_root())
        await self.transact(operations.set_other_config({"vlan-limit": str(tags)}))

    async def delete_bridge(self, name: str) -> None:
        """Delete the bridge if it exists."""
        (found,) = await self.transact(operations.identity("Bridge", name))
        if found["rows"]:
            await self.change(operations.detach(ROOT, [], "bridges", [row["_uuid"] for row in found["rows"]]))

    async def add_ports(self, bridge: str, *ports: NewPort) -> dict[str, int]:
        """Add the ports in one transaction and return their OpenFlow port numbers.

        Raises:
            TransactionRefused: the bridge does not exist, or a port exists already; none was added.
            PortFailed: ovs-vswitchd cannot open one of them. They are in the database nevertheless.
            NotApplied
        """
        inserts = [one for number, port in enumerate(ports) for one in operations.insert_port(bridge, port, number)]
        await self.change(operations.must_exist("Bridge", bridge), *inserts)
        return await self.ofports(*(port.name for port in ports))

    async def delete_ports(self, bridge: str, names: Iterable[str]) -> None:
        """Delete those of the ports that the bridge has."""
        found = await self.transact(*(operations.identity("Port", name) for name in names))
        ports = [row["_uuid"] for result in found for row in result["rows"]]
        if ports:
            await self.change(operations.detach("Bridge", [["name", "==", bridge]], "ports", ports))

    async def set_external_ids(self, interface: str, external_ids: Mapping[str, str]) -> None:
        """Replace the interface's external_ids.

        Raises:
            TransactionRefused: there is no such interface.
        """
        where = [["name", "==", interface]]
        row = {"external_ids": as_map(external_ids)}
        await self.transact(
            operations.must_exist("Interface", interface),
            {"op": "update", "table": "Interface", "where": where, "row": row},
        )

    async def ofports(self, *names: str, timeout_s: float = APPLY_TIMEOUT_S) -> dict[str, int]:
        """Wait until all these interfaces have OpenFlow port numbers, and return them.

        Raises:
            PortFailed: one of them could not be opened.
            NotApplied: one of them got no number in time.
        """
        wanted, known = frozenset(names), dict[str, int]()
        async with self._until(timeout_s, f"an ofport for {', '.join(sorted(wanted))}", "Interface") as monitor:
            while len(known) < len(wanted):
                for change in await anext(monitor):
                    match change.after:
                        case Interface(name=name, error=str(error)) if name in wanted:
                            raise PortFailed(
                                f"{self._path}: interface {name}: {error}: "
                                f"is there a device {name} in the namespace of ovs-vswitchd?"
                            )
                        case Interface(name=name, ofport=int(ofport)) if name in wanted:
                            known[name] = ofport
        return known

    async def change(self, *asked: Operation, timeout_s: float = APPLY_TIMEOUT_S) -> None:
        """Carry the operations out and wait until ovs-vswitchd has applied them.

        Raises:
            TransactionRefused: none was carried out.
            NotApplied: they are stored, but ovs-vswitchd has not applied them in time.
        """
        results = await self.transact(*asked, operations.next_configuration(), operations.root_columns("next_cfg"))
        sequence = results[-1]["rows"][0]["next_cfg"]
        async with self._until(timeout_s, f"configuration {sequence}", ROOT) as monitor:
            while monitor.view.switch is None or monitor.view.switch.cur_cfg < sequence:
                await anext(monitor)

    @asynccontextmanager
    async def _until(self, timeout_s: float, what: str, table: str) -> AsyncIterator[Monitor]:
        monitor = await self.monitor(table)
        try:
            async with asyncio.timeout(timeout_s):
                yield monitor
        except TimeoutError as error:
            raise NotApplied(
                f"{self._path}: waited {timeout_s:g} s for {what}: the database has it, "
                "but ovs-vswitchd has not carried it out: is it alive?"
            ) from error
        finally:
            await self.stop(monitor)

    # ------------------------------------------------------------------------------------------ the connection's side

    def _notice(self, method: str, params: list[Any]) -> None:
        if method == "update" and params[0] in self._monitors:
            self._monitors[params[0]].take(params[1])

    def _end(self, closed: asyncio.Future[str]) -> None:
        for monitor in self._monitors.values():
            monitor.take(RpcGone(f"{self._path}: {closed.result()}"))
