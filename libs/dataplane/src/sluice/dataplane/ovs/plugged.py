"""The open ports of the node's Pods and their flows, maintained incrementally: which Pod holds a contested address."""

from collections.abc import Callable

from sluice.contracts.ids import Address, Uid
from sluice.dataplane.ovs.flow import FlowBody, FlowKey, Flows
from sluice.dataplane.ovs.ports import LocalPort, port_flows, rightful


class Plugged:
    """No two open ports have the same ofport.

    Args:
        put: called with each flow that changes; None: it is gone.
    """

    def __init__(self, put: Callable[[FlowKey, FlowBody | None], None]) -> None:
        self._put = put
        self._ports: dict[Uid, LocalPort] = {}
        self._holders: dict[int, Uid] = {}
        self._claims: dict[Address, set[Uid]] = {}
        self._flows: dict[Uid, Flows] = {}

    def get(self, uid: Uid) -> LocalPort | None:
        return self._ports.get(uid)

    def holder(self, ofport: int) -> Uid | None:
        return self._holders.get(ofport)

    def ofport(self, uid: Uid) -> int | None:
        """The OpenFlow port number of the Pod's open port."""
        port = self._ports.get(uid)
        return None if port is None else port.ofport

    def open(self, port: LocalPort) -> None:
        """Open the port. Neither it nor its ofport may be open yet."""
        self._ports[port.uid] = port
        self._holders[port.ofport] = port.uid
        for claimed in port.addresses:
            self._claims.setdefault(claimed, set()).add(port.uid)
        self._renew(port)

    def close(self, port: LocalPort) -> None:
        """Close the port."""
        del self._ports[port.uid], self._holders[port.ofport]
        for claimed in set(port.addresses):
            self._claims[claimed].discard(port.uid)
        self._renew(port)
        for claimed in set(port.addresses):
            if not self._claims[claimed]:
                del self._claims[claimed]

    def _renew(self, changed: LocalPort) -> None:
        """Update the flows of the port, and of all that claim one of its addresses."""
        affected = {changed.uid}.union(*(self._claims[address] for address in changed.addresses))
        for uid in affected:
            for key in self._flows.pop(uid, {}):
                self._put(key, None)
        for uid in sorted(affected):
            port = self._ports.get(uid)
            if port is not None:
                flows = port_flows(port, (address for address in port.addresses if self._has(port, address)))
                self._flows[uid] = flows
                for key, body in flows.items():
                    self._put(key, body)

    def _has(self, port: LocalPort, address: Address) -> bool:
        return rightful(self._ports[uid] for uid in self._claims[address]) == port
