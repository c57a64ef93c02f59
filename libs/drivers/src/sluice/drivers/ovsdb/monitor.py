"""Contents of the database and their changes: a snapshot, then every transaction.

Uses whole rows (`monitor`) and not deltas (`monitor_cond`), so that a change can be decoded without its history.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

from sluice.drivers.jsonrpc import RpcGone
from sluice.drivers.ovsdb.rows import Bridge, Interface, Port, Row, RowId, Switch, row

Updates = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""<table-updates> of RFC 7047 section 4.1.6: table, row, then `old` and `new`."""


class Change(NamedTuple):
    """One row in one transaction; a new row has no `before`, a deleted one no `after`."""

    before: Row | None
    after: Row | None


class View:
    """The rows after the last change that was emitted."""

    def __init__(self) -> None:
        self.rows: dict[RowId, Row] = {}

    def evolve(self, updates: Updates) -> tuple[Change, ...]:
        """Apply a transaction and return its changes, ordered by row."""
        changes = []
        for table, rows in updates.items():
            for text, update in rows.items():
                row_id = RowId(text)
                before = self.rows.pop(row_id, None)
                after = row(table, row_id, update["new"]) if "new" in update else None
                if after is not None:
                    self.rows[row_id] = after
                if before != after:
                    changes.append((row_id, Change(before, after)))
        return tuple(change for _, change in sorted(changes, key=lambda change: change[0]))

    def bridge(self, name: str) -> Bridge | None:
        for found in self.rows.values():
            if isinstance(found, Bridge) and found.name == name:
                return found
        return None

    def interfaces(self, bridge: str) -> tuple[Interface, ...]:
        """The interfaces of the bridge, sorted by name; none if there is no such bridge."""
        found = self.bridge(bridge)
        if found is None:
            return ()
        ports = [port for port in map(self.rows.get, found.ports) if isinstance(port, Port)]
        interfaces = [self.rows.get(interface) for port in ports for interface in port.interfaces]
        return tuple(sorted((one for one in interfaces if isinstance(one, Interface)), key=lambda one: one.name))

    @property
    def switch(self) -> Switch | None:
        for found in self.rows.values():
            if isinstance(found, Switch):
                return found
        return None


class Monitor:
    """`async for changes in monitor`: first all rows as one batch, then the changes of each transaction.

    `view` reflects the changes emitted so far. When the connection ends, the iteration raises RpcGone.
    """

    def __init__(self) -> None:
        self.view = View()
        self._updates: asyncio.Queue[Updates | RpcGone] = asyncio.Queue()  # unbounded: a node's database is small
        self._early: list[Updates | RpcGone] | None = []

    def begin(self, rows: Updates) -> None:
        """Take all rows, from the reply to the request; updates that arrived together with the reply come after it."""
        early, self._early = self._early or [], None
        for updates in (rows, *early):
            self._updates.put_nowait(updates)

    def take(self, updates: Updates | RpcGone) -> None:
        """Called by the connection, in order of arrival."""
        if self._early is None:
            self._updates.put_nowait(updates)
        else:
            self._early.append(updates)

    def __aiter__(self) -> "Monitor":
        return self

    async def __anext__(self) -> tuple[Change, ...]:
        updates = await self._updates.get()
        if isinstance(updates, RpcGone):
            self.take(updates)  # so that the next iteration raises it, too
            raise updates
        return self.view.evolve(updates)
