"""Brings values to the sources of rules incrementally: members of groups, ports of Services, DNS answers."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from sluice.contracts.groups import Member, Page
from sluice.contracts.ids import GroupId, NodeName, Uid
from sluice.contracts.programs import GroupPeer, ServiceRef
from sluice.contracts.status import Problem
from sluice.dataplane.addresses import NotAnAddress
from sluice.dataplane.ovs.fqdn import Fact
from sluice.dataplane.ovs.fqdn_values import Facts, Opens, fact_values
from sluice.dataplane.ovs.index import Index
from sluice.dataplane.ovs.sources import (
    Client,
    Named,
    Own,
    Source,
    Value,
    member_addresses,
    member_values,
    service_values,
    standing_values,
)
from sluice.dataplane.reading import strange


class Bringers:
    """A put replaces the previous value of its key as a whole. Updates `index` with each value that comes or goes.

    Args:
        ofport: returns that of the Pod's open port on this node, if it has one.
        regrouped: called with each Pod of this node that joins or leaves a group.
    """

    def __init__(
        self,
        node: NodeName,
        opens: Opens,
        ofport: Callable[[Uid], int | None],
        regrouped: Callable[[Member], None],
    ) -> None:
        self._node, self._opens, self._ofport, self._regrouped = node, opens, ofport, regrouped
        self.index = Index(self._values)
        self._pages: dict[GroupId, dict[NodeName, tuple[Member, ...]]] = {}
        """The members on each node, without duplicates."""

        self._memberships: dict[Uid, set[tuple[GroupId, Member]]] = {}
        """What the pages of this node say about its Pods."""

        self._services: dict[ServiceRef, frozenset[int]] = {}
        self._facts = Facts()
        self._problems: dict[tuple[GroupId, NodeName], tuple[Problem, ...]] = {}

    def groups(self, uid: Uid) -> set[GroupId]:
        """The groups of a Pod of this node."""
        return {group for group, _ in self._memberships.get(uid, ())}

    def members_here(self, group: GroupId) -> tuple[Member, ...]:
        """The group's members on this node."""
        return self._pages.get(group, {}).get(self._node, ())

    def problems(self) -> Iterator[Problem]:
        """Members that bring nothing, because an address of theirs is invalid."""
        for found in self._problems.values():
            yield from found

    def put_page(self, page: Page) -> None:
        """The group has exactly these members on the page's node."""
        members = tuple(dict.fromkeys(page.members))
        self._change_members(page.group, page.node, members)
        self._pages.setdefault(page.group, {})[page.node] = members

    def drop_page(self, group: GroupId, node: NodeName) -> None:
        """The group has no members on the node."""
        self._change_members(group, node, ())
        pages = self._pages.get(group, {})
        pages.pop(node, None)
        if not pages:
            self._pages.pop(group, None)

    def serve(self, service: ServiceRef, numbers: frozenset[int]) -> None:
        """The ports of the Service have these numbers; no numbers: there is no such Service."""
        known = self._services.get(service, frozenset())
        for change, by in ((known - numbers, -1), (numbers - known, 1)):
            for source in self.index.of_group(service):
                values = (value for number in sorted(change) for value in service_values(source, number))
                self.index.count(source, values, by)
        self._services.pop(service, None)
        if numbers:
            self._services[service] = numbers

    def tell(self, fact: Fact, *, true: bool) -> None:
        """A fact learnt from DNS became true, or is no longer."""
        if self._facts.put(fact, true=true):
            self._count_fact(fact, 1 if true else -1)

    def plug(self, uid: Uid, by: int) -> None:
        """The Pod's port has just been opened (`by` is 1), or is about to be closed (-1)."""
        for group, member in self._memberships.get(uid, ()):
            for source in self.index.of_group(group):
                if isinstance(source.place, Own | Client):
                    self.index.count(source, self._member_values(source, self._node, member), by)
        if self._opens is not Opens.NODE:
            for fact in self._facts.of_pod(uid):
                self._count_fact(fact, by, opens=(True,))

    def _change_members(self, group: GroupId, node: NodeName, members: tuple[Member, ...]) -> None:
        old, new = set(self._pages.get(group, {}).get(node, ())), set(members)
        for change, by in ((old - new, -1), (new - old, 1)):
            for member in change:
                if node == self._node:
                    self._regroup(member, group, by)
                for source in self.index.of_group(group):
                    self.index.count(source, self._member_values(source, node, member), by)
        found = tuple(problem for member in members for problem in strange(group, member, "status.podIPs"))
        self._problems.pop((group, node), None)
        if found:
            self._problems[group, node] = found

    def _regroup(self, member: Member, group: GroupId, by: int) -> None:
        self._regrouped(member)
        said = self._memberships.setdefault(member.uid, set())
        if by > 0:
            said.add((group, member))
        else:
            said.discard((group, member))
            if not said:
                del self._memberships[member.uid]

    def _values(self, source: Source) -> Iterator[Value]:
        """All values of a source, each as often as it is brought."""
        yield from standing_values(source)
        if isinstance(source.place, Named):
            for fact in self._facts.of_pattern(source.place.pattern):
                yield from self._fact_values(source, fact)
        elif isinstance(source.group, ServiceRef):
            for number in self._services.get(source.group, ()):
                yield from service_values(source, number)
        elif source.group is not None and not isinstance(source.group, Named):
            for node, members in self._pages.get(source.group, {}).items():
                yield from self._members_values(source, node, members)

    def _members_values(self, source: Source, node: NodeName, members: tuple[Member, ...]) -> Iterator[Value]:
        if isinstance(source.place, GroupPeer) and source.traffic is None:
            with suppress(NotAnAddress):  # then each member is asked separately
                yield from member_addresses(members)
                return
        for member in members:
            yield from self._member_values(source, node, member)

    def _member_values(self, source: Source, node: NodeName, member: Member) -> Iterable[Value]:
        ofport = self._ofport(member.uid) if node == self._node else None
        try:
            return tuple(member_values(source, member, ofport))
        except NotAnAddress:
            return ()  # reported by `problems`

    def _count_fact(self, fact: Fact, by: int, opens: tuple[bool, ...] = (True, False)) -> None:
        for place in (Named(fact.pattern, each) for each in opens):
            for source in self.index.of_group(place):
                self.index.count(source, self._fact_values(source, fact), by)

    def _fact_values(self, source: Source, fact: Fact) -> Iterator[Value]:
        return fact_values(source, fact, self._ofport(fact.holder), self._opens)
