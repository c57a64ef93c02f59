"""What the policed interfaces of a node must hold, maintained incrementally.

Invariant: after any steps, the contents equal what `contents_of` computes from the same inputs. An interface is policed
while a program applies to it, that is, while a page of this node says that it is in the program's group.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, assert_never

import msgspec

from sluice.contracts import codec
from sluice.contracts.groups import Member, Page
from sluice.contracts.ids import GroupId, NodeName, Uid, Unit
from sluice.contracts.programs import (
    BlockPeer,
    Direction,
    GroupPeer,
    Program,
    Rule,
)
from sluice.contracts.status import Problem
from sluice.contracts.tracing import DecidingRule
from sluice.dataplane.addresses import Block, NotAnAddress, address, network
from sluice.dataplane.protocols import EthType
from sluice.dataplane.reading import strange
from sluice.dataplane.tc import owner
from sluice.dataplane.tc.board import EVERYWHERE, Board, Standing
from sluice.dataplane.tc.content import EVERYTHING_OPEN, NO_OPTIONS, Content, Mode, Options
from sluice.dataplane.tc.faults import fault, faults
from sluice.dataplane.tc.filter import DIRECTIONS, FilterKey, Hook
from sluice.dataplane.tc.openings import Opening, Openings, meet, openings
from sluice.dataplane.tc.owner import Cookie, CookieKind

ProgramKey = tuple[GroupId, Unit]


class InterfaceKey(NamedTuple):
    """One interface of one Pod on a secondary network."""

    uid: Uid
    network: str
    interface: str


class Change(NamedTuple):
    """Changes of an interface since the last call."""

    whole: bool
    """Policy changed, or the interface is new: `plan` it. Otherwise only addresses changed: `patch` them."""

    addresses: Mapping[Hook, Mapping[Block, Openings | None]]


class _Policed:
    """An interface with the programs that apply to it."""

    def __init__(self, member: Member, programs: Iterable[Program], options: Options) -> None:
        self.member = member
        self.programs = sorted(programs, key=lambda program: (program.unit, program.applied_to))
        self._options = options
        isolated = {direction for program in self.programs for direction in program.isolates}
        self.modes = {hook: _mode(DIRECTIONS[hook], isolated) for hook in Hook}
        self.rules = {hook: tuple(self._rules(DIRECTIONS[hook])) for hook in Hook}
        self.boards = {hook: Board(self._standing(hook)) for hook in Hook}
        self.about: dict[GroupId, list[tuple[Hook, Rule]]] = {}
        """The rules with a group as a peer, as often as they have it."""

        for hook in Hook:
            for _, rule in self.rules[hook]:
                for peer in rule.peers or ():
                    if isinstance(peer, GroupPeer):
                        self.about.setdefault(peer.group, []).append((hook, rule))
        self._digests = {hook: self._digest(hook) for hook in Hook}

    def content(self, hook: Hook) -> Content:
        mode = self.modes[hook]
        table = self.boards[hook].table if mode is Mode.POLICED else {}
        return Content(mode, self._digests[hook], self.member.attachment.tagged, self._options, table)

    def _digest(self, hook: Hook) -> int:
        """Digest of everything that is constant while these programs police the interface."""
        member = self.member
        rules = [(program.unit, rule) for program, rule in self.rules[hook]]
        about = [self.modes[hook], rules, member.ports, member.attachment.tagged, self._options]
        return int(codec.digest(codec.encode(about))[:16], 16)

    def openings(self, rule: Rule, peer: Member) -> Openings:
        """What the rule opens to the peer, or on it."""
        ports = self.member.ports if rule.direction is Direction.INGRESS else peer.ports
        return openings(rule.traffic, ports)

    def count(self, hook: Hook, rule: Rule, peer: Member, by: int) -> None:
        opened = self.openings(rule, peer)
        for text in peer.addresses:
            try:
                self.boards[hook].count(address(text), opened, by)
            except NotAnAddress:
                continue  # reported by `problems`

    def _rules(self, direction: Direction) -> Iterator[tuple[Program, Rule]]:
        for program in self.programs:
            for rule in program.rules:
                if rule.direction is direction and fault(program, rule) is None:
                    yield program, rule

    def _standing(self, hook: Hook) -> Iterator[Standing]:
        """Openings independent of group members. Named ports of unknown peers have no number."""
        for _, rule in self.rules[hook]:
            named = self.member.ports if rule.direction is Direction.INGRESS else ()
            opened = openings(rule.traffic, named)
            if rule.peers is None:
                for block in EVERYWHERE:
                    yield Standing(block, (), opened)
            for peer in rule.peers or ():
                if isinstance(peer, BlockPeer):
                    yield Standing(network(peer.cidr), tuple(map(network, peer.excepts)), opened)


class Engine:
    """Values are whole: putting one replaces the previous one with its key.

    Nothing raises: what cannot be lowered allows nothing, and is reported by `problems`.
    """

    def __init__(self, node: NodeName, options: Options = NO_OPTIONS) -> None:
        self._node, self._options = node, options
        self._programs: dict[ProgramKey, Program] = {}
        self._units: dict[GroupId, set[Unit]] = {}
        self._pages: dict[GroupId, dict[NodeName, tuple[Member, ...]]] = {}
        self._groups_of: dict[InterfaceKey, dict[GroupId, Member]] = {}
        self._policed: dict[InterfaceKey, _Policed] = {}
        self._users: dict[GroupId, set[InterfaceKey]] = {}
        """Interfaces whose rules refer to the group."""

        self._stale: dict[InterfaceKey, None] = {}
        """Interfaces to be rebuilt."""

        self._patched: dict[InterfaceKey, None] = {}
        self._whole: dict[InterfaceKey, None] = {}
        self._program_problems: dict[ProgramKey, tuple[Problem, ...]] = {}
        self._page_problems: dict[tuple[GroupId, NodeName], tuple[Problem, ...]] = {}

    # --------------------------------------------------------------------------------------------------------- inputs

    def put_program(self, program: Program) -> None:
        """The program is in force from now on."""
        key = program.applied_to, program.unit
        self._programs[key] = program
        self._units.setdefault(program.applied_to, set()).add(program.unit)
        self._program_problems.pop(key, None)
        if found := tuple(faults(program)):
            self._program_problems[key] = found
        self._renew(program.applied_to)

    def drop_program(self, group: GroupId, unit: Unit) -> None:
        """The program is no longer in force."""
        if self._programs.pop((group, unit), None) is None:
            return
        self._program_problems.pop((group, unit), None)
        self._units[group].discard(unit)
        if not self._units[group]:
            del self._units[group]
        self._renew(group)

    def put_page(self, page: Page) -> None:
        """The group has exactly these members on the page's node."""
        self._change(page.group, page.node, page.members)

    def drop_page(self, group: GroupId, node: NodeName) -> None:
        """The group has no members on the node."""
        self._change(group, node, ())

    # ------------------------------------------------------------------------------------------------------ questions

    @property
    def interfaces(self) -> Mapping[InterfaceKey, Member]:
        """The policed interfaces, as in the pages."""
        self._settle()
        return {key: policed.member for key, policed in self._policed.items()}

    def contents(self, key: InterfaceKey) -> Mapping[Hook, Content]:
        """What the hooks of an interface must hold; hooks without a policy are open."""
        self._settle()
        policed = self._policed.get(key)
        return EVERYTHING_OPEN if policed is None else {hook: policed.content(hook) for hook in Hook}

    def rules(self, key: InterfaceKey, hook: Hook, cookie: bytes) -> tuple[tuple[Unit, int], ...]:
        """The rules that a port filter with this cookie may come from: unit and index in its direction, sorted."""
        said = owner.unpack(cookie)
        if said is None or said.kind is not CookieKind.PORT:
            return ()
        return tuple(sorted({(program.unit, rule.index) for program, rule in self._opening(key, hook, said)}))

    def owners(self, key: InterfaceKey, hook: Hook, where: FilterKey, cookie: bytes) -> tuple[DecidingRule, ...]:
        """The rules that a filter belongs to, or the policies that close the interface if the filter does that. Sorted.

        A port filter belongs to all rules about the port, whoever their peers are, since addresses with equal ports
        share it. `verdict` tells which of these apply to one address.
        """
        self._settle()
        policed, said = self._policed.get(key), owner.unpack(cookie)
        if policed is None or said is None:
            return ()
        direction = DIRECTIONS[hook]
        match said.kind:
            case CookieKind.PORT:
                found = {_deciding(program, rule) for program, rule in self._opening(key, hook, said)}
            case CookieKind.ADDRESS:
                found = {_deciding(program, rule) for program, rule in self._about(policed, hook, where)}
            case CookieKind.ROOT:
                found = {_isolating(program, each) for program in policed.programs for each in program.isolates}
            case CookieKind.REST:
                found = {
                    _isolating(program, direction) for program in policed.programs if direction in program.isolates
                }
            case CookieKind.BASE | CookieKind.STATE:
                found = set()
            case _:
                assert_never(said.kind)
        return tuple(sorted(found, key=lambda one: (one.policy, one.direction, -1 if one.index is None else one.index)))

    def _opening(self, key: InterfaceKey, hook: Hook, said: Cookie) -> Iterator[tuple[Program, Rule]]:
        """Rules that open what the port filter lets pass."""
        self._settle()
        policed = self._policed.get(key)
        if policed is None:
            return
        wanted = (Opening.of(said.reference),)
        members = [policed.member] if hook is Hook.EGRESS else self._peers(policed, hook)
        for program, rule in policed.rules[hook]:
            if any(meet(openings(rule.traffic, member.ports), wanted) for member in members):
                yield program, rule

    def _about(self, policed: _Policed, hook: Hook, where: FilterKey) -> Iterator[tuple[Program, Rule]]:
        """Rules that refer to the filter's address or block, even as an except."""
        match, v4 = where.match, EthType.IPV4 in (where.protocol, where.match.vlan_ethtype)
        block = match.destination or match.source or Block(4 if v4 else 6, 0, 0)
        for program, rule in policed.rules[hook]:
            groups = [peer.group for peer in rule.peers or () if isinstance(peer, GroupPeer)]
            blocks = [network(peer.cidr) for peer in rule.peers or () if isinstance(peer, BlockPeer)]
            by_block = rule.peers is None or any(one.covers(block) for one in blocks)
            if by_block or any(block in self._addresses(group) for group in groups):
                yield program, rule

    def _addresses(self, group: GroupId) -> Iterator[Block]:
        for members in self._pages.get(group, {}).values():
            for member in members:
                for text in member.addresses:
                    with contextlib.suppress(NotAnAddress):  # reported by `problems`
                        yield address(text)

    def _peers(self, policed: _Policed, hook: Hook) -> list[Member]:
        """Members whose named ports egress rules may refer to, and one without ports."""
        groups = [group for group, about in policed.about.items() if any(at is hook for at, _ in about)]
        pages = [members for group in groups for members in self._pages.get(group, {}).values()]
        return [Member(pod="", uid=Uid("")), *(member for members in pages for member in members)]

    def drain(self) -> dict[InterfaceKey, Change]:
        """Changes since the last call. An interface that is no longer policed has changed as a whole, too."""
        self._settle()
        changes: dict[InterfaceKey, Change] = {}
        for key in {**self._whole, **self._patched}:
            policed = self._policed.get(key)
            addresses = {hook: board.drain() for hook, board in policed.boards.items()} if policed else {}
            if key in self._whole:
                changes[key] = Change(True, {})
            elif any(addresses.values()):
                changes[key] = Change(False, addresses)
        self._whole, self._patched = {}, {}
        return changes

    def problems(self) -> tuple[Problem, ...]:
        """What is not in force as written; sorted."""
        kinds = self._program_problems, self._page_problems
        return tuple(sorted({problem for kind in kinds for found in kind.values() for problem in found}))

    # -------------------------------------------------------------------------------------------------------- changes

    def _change(self, group: GroupId, node: NodeName, members: tuple[Member, ...]) -> None:
        pages = self._pages.setdefault(group, {})
        before, after = frozenset(pages.pop(node, ())), frozenset(members)
        if members:
            pages[node] = members
        if not pages:
            del self._pages[group]
        self._page_problems.pop((group, node), None)
        if found := tuple(one for member in members for one in strange(group, member, "its network-status")):
            self._page_problems[group, node] = found
        left, joined = before - after, after - before
        for key in self._users.get(group, ()):
            if key not in self._stale:
                self._recount(key, group, left, joined)
        if node == self._node:
            self._regroup(group, left, joined)

    def _recount(self, key: InterfaceKey, group: GroupId, left: Iterable[Member], joined: Iterable[Member]) -> None:
        policed = self._policed[key]
        self._patched[key] = None
        for hook, rule in policed.about.get(group, ()):
            for members, by in ((left, -1), (joined, 1)):
                for member in members:
                    policed.count(hook, rule, member, by)

    def _regroup(self, group: GroupId, left: Iterable[Member], joined: Iterable[Member]) -> None:
        """Members on this node joined or left a group, or changed."""
        for member in left:
            key = key_of(member)
            groups = self._groups_of.get(key, {})
            if groups.get(group) == member:
                del groups[group]
                if not groups:
                    del self._groups_of[key]
        for member in joined:
            self._groups_of.setdefault(key_of(member), {})[group] = member
        if group in self._units:
            self._stale.update((key_of(member), None) for members in (left, joined) for member in members)

    def _renew(self, group: GroupId) -> None:
        """The programs of the group changed."""
        for member in self._pages.get(group, {}).get(self._node, ()):
            self._stale[key_of(member)] = None

    def _settle(self) -> None:
        for key in self._stale:
            old = self._policed.pop(key, None)
            for group in old.about if old else ():
                self._users[group].discard(key)
                if not self._users[group]:
                    del self._users[group]
            made = self._make(key)
            if made is not None:
                self._policed[key] = made
                for group in made.about:
                    self._users.setdefault(group, set()).add(key)
            if made is not None or old is not None:
                self._whole[key] = None
        self._stale = {}

    def _make(self, key: InterfaceKey) -> _Policed | None:
        groups = self._groups_of.get(key, {})
        programs = [self._programs[group, unit] for group in groups for unit in self._units.get(group, ())]
        if not programs:
            return None
        member = next(groups[group] for group in sorted(groups) if group in self._units)
        policed = _Policed(member, programs, self._options)
        for group, about in policed.about.items():
            for members in self._pages.get(group, {}).values():
                for peer in frozenset(members):
                    for hook, rule in about:
                        policed.count(hook, rule, peer, 1)
        return policed


def _deciding(program: Program, rule: Rule) -> DecidingRule:
    told = _isolating(program, rule.direction)
    return msgspec.structs.replace(told, index=rule.index, name=rule.name, action=rule.action)


def _isolating(program: Program, direction: Direction) -> DecidingRule:
    return DecidingRule(policy=program.origin, object_revision=program.cause, direction=direction)


def _mode(direction: Direction, isolated: set[Direction]) -> Mode:
    if direction in isolated:
        return Mode.POLICED
    return Mode.TRACKED if isolated else Mode.OPEN


def key_of(member: Member) -> InterfaceKey:
    return InterfaceKey(member.uid, member.attachment.network, member.attachment.interface)
