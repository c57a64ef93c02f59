"""The multicast groups that Pods have joined, as far as policy allows, and the resulting flows. No I/O."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Address

from sluice.contracts.ids import Address, NodeName, Uid
from sluice.contracts.programs import Direction, Program
from sluice.dataplane import igmp
from sluice.dataplane.addresses import address
from sluice.dataplane.igmp import Report
from sluice.dataplane.ovs.flow import FlowBody, FlowKey, Flows
from sluice.dataplane.ovs.multicast import Memberships, Tunnel
from sluice.dataplane.ovs.ports import LocalPort
from sluice.dataplane.ovs.routes import Routing
from sluice.policy.igmp import Message, decide


class Joined:
    """The fold. Reports of a Pod count while its port is open.

    Args:
        about: returns the programs that apply to a Pod.
    """

    def __init__(self, about: Callable[[Uid], Iterable[Program]]) -> None:
        self._about = about
        self._memberships = Memberships()
        self._flows: dict[int, Flows] = {}
        self._open: Mapping[Uid, LocalPort] = {}
        self._stale: set[int] = set()
        self._denied: set[Uid] = set()
        """Pods whose joins policy denied."""

        self._ask: set[Uid] = set()
        self._rejudge = self._everything = False

    @property
    def groups(self) -> tuple[Address, ...]:
        """Groups that Pods of this node have joined, sorted."""
        return tuple(Address(str(IPv4Address(group))) for group in sorted(self._memberships.local))

    def hear(self, ofport: int, reports: Iterable[Report], until_s: float) -> None:
        """Take in the reports of the Pod behind the port; those that policy denies are ignored."""
        uid = next((port.uid for port in self._open.values() if port.ofport == ofport), None)
        if uid is None:
            return
        for report in reports:
            if report.joins and not self._may(uid, Direction.EGRESS, report.type, report.group):
                self._stale |= self._memberships.leave(uid, report.group)
                self._denied.add(uid)
            else:
                self._stale |= self._memberships.take(uid, report, until_s)

    def heard_of(self, node: NodeName, groups: Iterable[Address], until_s: float) -> None:
        """The other node has members of exactly these groups."""
        self._stale |= self._memberships.heard_of(node, [address(group).value for group in groups], until_s)

    def askable(self) -> tuple[int, ...]:
        """Open ports whose Pods policy allows us to query."""
        return tuple(
            sorted(
                port.ofport
                for uid, port in self._open.items()
                if self._may(uid, Direction.INGRESS, igmp.QUERY, igmp.ALL_HOSTS)
            )
        )

    @property
    def asks(self) -> bool:
        """There are Pods to query, see `to_ask`."""
        return bool(self._ask)

    def to_ask(self) -> tuple[int, ...]:
        """Remove and return the ports of Pods to query again: policy may now allow reports that it denied before."""
        asked, self._ask = self._ask, set()
        return tuple(sorted(self._open[uid].ofport for uid in asked if uid in self._open))

    def policies_changed(self) -> None:
        self._rejudge = True

    def routes_changed(self) -> None:
        self._everything = True

    def next_deadline_s(self) -> float | None:
        return self._memberships.next_deadline_s()

    def advance(
        self, ports: Mapping[Uid, LocalPort], routing: Routing, now_s: float
    ) -> Iterator[tuple[FlowKey, FlowBody | None]]:
        """Yield the flows that change, given the open ports; None for a flow to remove."""
        if ports is not self._open:
            for uid, port in self._open.items():
                if ports.get(uid) != port:
                    self._stale |= self._memberships.close(uid)
            self._open = ports
        if self._rejudge:
            self._ask |= self._denied
            self._denied.clear()
            for uid, group, kind in list(self._memberships.joined()):
                if not self._may(uid, Direction.EGRESS, kind, group):
                    self._stale |= self._memberships.leave(uid, group)
                    self._denied.add(uid)
        self._stale |= self._memberships.expire(now_s)
        if self._everything:
            self._stale |= self._memberships.groups
        stale, self._stale = self._stale, set()
        self._rejudge = self._everything = False
        if stale:
            yield from self._renew(stale, routing)

    def _renew(self, groups: Iterable[int], routing: Routing) -> Iterator[tuple[FlowKey, FlowBody | None]]:
        plugged = {uid: port.ofport for uid, port in self._open.items()}
        ofport = routing.uplinks.tunnel
        tunnel = None if ofport is None else Tunnel(ofport, routing.ends())
        for group in sorted(groups):
            old, new = self._flows.pop(group, {}), self._memberships.flows(group, plugged, tunnel)
            yield from ((key, None) for key in old.keys() - new.keys())
            yield from new.items()
            if new:
                self._flows[group] = new

    def _may(self, uid: Uid, direction: Direction, kind: int, group: int) -> bool:
        message = Message(direction, kind, Address(str(IPv4Address(group))))
        return decide(self._about(uid), message).allowed
