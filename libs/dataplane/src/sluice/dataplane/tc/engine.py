"""What the policed interfaces of a node must hold, kept up to date at the cost of what changes.

The law: after any steps, contents are what `contents_of` makes of the same inputs from scratch. An interface is policed
while a program applies to it, that is while a page of this node says that it is in the program's group.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, assert_never

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Member, Page
from sluice.contracts.ids import GroupId, NodeName, Uid, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import (
    Action,
    BlockPeer,
    Direction,
    FqdnPeer,
    GroupPeer,
    Program,
    Rule,
    ServicePeer,
    TransportTraffic,
)
from sluice.contracts.status import Problem
from sluice.dataplane.addresses import Block, NotAnAddress, address, network
from sluice.dataplane.tc import owner
from sluice.dataplane.tc.board import EVERYWHERE, Board, Standing
from sluice.dataplane.tc.content import EVERYTHING_OPEN, NO_OPTIONS, Content, Mode, Options
from sluice.dataplane.tc.filter import DIRECTIONS, Hook
from sluice.dataplane.tc.openings import NotLowerable, Opening, Openings, meet, openings
from sluice.dataplane.tc.owner import CookieKind

ProgramKey = tuple[GroupId, Unit]


class InterfaceKey(NamedTuple):
    """One interface of one Pod on a secondary network."""

    uid: Uid
    network: str
    interface: str


class Change(NamedTuple):
    """What differs for an interface since the last time."""

    whole: bool
    """Policy changed, or the interface is new: `plan` it. Otherwise only addresses changed: `patch` them."""

    addresses: Mapping[Hook, Mapping[Block, Openings | None]]


class _Policed:
    """An interface with the programs that apply to it."""

    def __init__(self, member: Member, programs: Iterable[Program], options: Options) -> None:
        self.member = member
        self._programs = sorted(programs, key=lambda program: (program.unit, program.applied_to))
        self._options = options
        isolated = {direction for program in self._programs for direction in program.isolates}
        self.modes = {hook: _mode(DIRECTIONS[hook], isolated) for hook in Hook}
        self.rules = {hook: tuple(self._rules(DIRECTIONS[hook])) for hook in Hook}
        self.boards = {hook: Board(self._standing(hook)) for hook in Hook}
        self.about: dict[GroupId, list[tuple[Hook, Rule]]] = {}
        """The rules that have a group as a peer, as often as they have it."""

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
        """Of all that does not change while the interface is policed by these programs."""
        member = self.member
        about = [self.modes[hook], self.rules[hook], member.ports, member.attachment.tagged, self._options]
        return int(codec.digest(codec.encode(about))[:16], 16)

    def openings(self, rule: Rule, peer: Member) -> Openings:
        """What the rule opens to the peer, or at it."""
        ports = self.member.ports if rule.direction is Direction.INGRESS else peer.ports
        return openings(rule.traffic, ports)

    def count(self, hook: Hook, rule: Rule, peer: Member, by: int) -> None:
        opened = self.openings(rule, peer)
        for text in peer.addresses:
            try:
                self.boards[hook].count(address(text), opened, by)
            except NotAnAddress:
                continue  # told by `problems`

    def _rules(self, direction: Direction) -> Iterator[tuple[Unit, Rule]]:
        for program in self._programs:
            for rule in program.rules:
                if rule.direction is direction and fault(program, rule) is None:
                    yield program.unit, rule

    def _standing(self, hook: Hook) -> Iterator[Standing]:
        """What does not depend on who is a member of what. A name is no number at an address of nobody known."""
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
    """Values are whole: putting one replaces what had its key.

    Nothing raises: what cannot be lowered allows nothing, and is told by `problems`.
    """

    def __init__(self, node: NodeName, options: Options = NO_OPTIONS) -> None:
        self._node, self._options = node, options
        self._programs: dict[ProgramKey, Program] = {}
        self._units: dict[GroupId, set[Unit]] = {}
        self._pages: dict[GroupId, dict[NodeName, tuple[Member, ...]]] = {}
        self._groups_of: dict[InterfaceKey, dict[GroupId, Member]] = {}
        self._policed: dict[InterfaceKey, _Policed] = {}
        self._users: dict[GroupId, set[InterfaceKey]] = {}
        """Whose rules name the group."""

        self._stale: dict[InterfaceKey, None] = {}
        """To be made anew."""

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
        if found := tuple(_faults(program)):
            self._program_problems[key] = found
        self._renew(program.applied_to)

    def drop_program(self, group: GroupId, unit: Unit) -> None:
        """The program is not in force any more."""
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
        """Those that are policed, as the pages tell them."""
        self._settle()
        return {key: policed.member for key, policed in self._policed.items()}

    def contents(self, key: InterfaceKey) -> Mapping[Hook, Content]:
        """What the hooks of an interface must hold; everything is open at one that no policy is about."""
        self._settle()
        policed = self._policed.get(key)
        return EVERYTHING_OPEN if policed is None else {hook: policed.content(hook) for hook in Hook}

    def rules(self, key: InterfaceKey, hook: Hook, cookie: bytes) -> tuple[tuple[Unit, int], ...]:
        """The rules that a filter with this cookie may come from: unit, and index in the list of the direction. Sorted.

        A filter of a port belongs to all rules about the port, whoever their peers are: addresses with equal ports
        share it. Which of these are about one address, `verdict` says.
        """
        self._settle()
        policed, said = self._policed.get(key), owner.unpack(cookie)
        if policed is None or said is None or said.kind is not CookieKind.PORT:
            return ()
        wanted = (Opening.of(said.reference),)
        members = [policed.member] if hook is Hook.EGRESS else self._peers(policed, hook)
        found = {
            (unit, rule.index)
            for unit, rule in policed.rules[hook]
            if any(meet(openings(rule.traffic, member.ports), wanted) for member in members)
        }
        return tuple(sorted(found))

    def _peers(self, policed: _Policed, hook: Hook) -> list[Member]:
        """Whose ports have the names of egress rules; and somebody without ports."""
        groups = [group for group, about in policed.about.items() if any(at is hook for at, _ in about)]
        pages = [members for group in groups for members in self._pages.get(group, {}).values()]
        return [Member(pod="", uid=Uid("")), *(member for members in pages for member in members)]

    def drain(self) -> dict[InterfaceKey, Change]:
        """What differs since the last time. One that is policed no more has changed as a whole, too."""
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
        if found := tuple(one for member in members for one in _strange(group, member)):
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
        """Members of this node left and joined a group, or are other members now."""
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
        """Other programs apply to the group."""
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


def fault(program: Program, rule: Rule) -> str | None:
    """Why the rule is not in force here: where, what and why, and what to do. None if it is."""
    where = f"{program.unit}: {rule.direction} rule {rule.index}"
    if rule.action is not Action.ALLOW or rule.l7 is not None or rule.services is not None:
        return (
            f"{where}: policies of secondary networks only allow, by addresses and ports; report a bug of rule-compiler"
        )
    for peer in rule.peers or ():
        match peer:
            case GroupPeer():
                pass
            case BlockPeer(cidr=cidr, excepts=excepts):
                try:
                    for text in (cidr, *excepts):
                        network(text)
                except NotAnAddress as error:
                    return f"{where}: {error}, so it allows nothing; correct it"
            case FqdnPeer() | ServicePeer():
                return f"{where}: peers of secondary networks are selected or blocks; report a bug of rule-compiler"
            case _:
                assert_never(peer)
    try:
        openings(rule.traffic, ())
    except NotLowerable as error:
        return f"{where}: {error}"
    return None


def _faults(program: Program) -> Iterator[Problem]:
    for rule in program.rules:
        reason = fault(program, rule)
        if reason is None and _names_nobody(rule):
            reason = (
                f"{program.unit}: {rule.direction} rule {rule.index}: a named port has a number only where the peers "
                f"are Pods, so it opens nothing to blocks; give the number"
            )
        if reason is not None:
            yield Problem(unit=program.unit, state="failed", reason=reason)


def _names_nobody(rule: Rule) -> bool:
    """It is about named ports of addresses of which nobody knows whose they are."""
    unknown = rule.peers is None or any(isinstance(peer, BlockPeer) for peer in rule.peers)
    named = any(isinstance(each, TransportTraffic) and isinstance(each.ports, str) for each in rule.traffic or ())
    return rule.direction is Direction.EGRESS and unknown and named


def _mode(direction: Direction, isolated: set[Direction]) -> Mode:
    if direction in isolated:
        return Mode.POLICED
    return Mode.TRACKED if isolated else Mode.OPEN


def key_of(member: Member) -> InterfaceKey:
    return InterfaceKey(member.uid, member.attachment.network, member.attachment.interface)


def _strange(group: GroupId, member: Member) -> Iterator[Problem]:
    for text in member.addresses:
        try:
            address(text)
        except NotAnAddress as error:
            namespace, _, name = member.pod.partition("/")
            unit = subjects.unit(Kind.POD, namespace, name)
            reason = f"{unit} in group {group}: {error}, so nothing is allowed for it; correct its network-status"
            yield Problem(unit=unit, state="failed", reason=reason)
