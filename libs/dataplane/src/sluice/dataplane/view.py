"""A node's view: what its backend should read, and how much of what it has read may be applied now.

A node reads which groups have members on it (`_own`), the programs addressed to those groups, its own page of each, and
all pages of the peer groups that the programs refer to; and the route to each node (`_route`). Values arrive in any
order; marks tell how far each stream is complete. The view joins them: everything up to one revision, the *join
point*, is applied in one atomic step, so that the parts of one change (a new program, its new groups, the tombstones of
the old) take effect together or not at all.

Three rules decide what is ready:

- nothing is ready past the oldest mark of any shard of either stream: something of that revision may still arrive;
- a program is ready when all pages of its peers were requested and answered: from then on, absent means empty;
- a list of own groups is ready when the programs and the own page of each of its groups were answered.

What is not ready holds back itself and everything younger, up to a grace period. After that (never before the first
step) a new program is applied as it is, with the peers known so far and with its isolation, and a changed program keeps
its previous form; both are reported. A list of own groups has no grace period, since it opens ports.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec import Struct

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Local, Mark, NodeRoute, Own, Page
from sluice.contracts.ids import ALL_NODES, NEVER, Backend, GroupId, NodeName, Revision, Unit
from sluice.contracts.kinds import SERVED, Kind
from sluice.contracts.programs import GroupPeer, Program
from sluice.contracts.serving import EndpointsProgram, ServiceProgram
from sluice.contracts.traffic_programs import TrafficProgram
from sluice.dataplane.unread import Unread, closed_form
from sluice.policy.everypod import EVERY_POD_ID, asks_every_pod

ServingProgram = ServiceProgram | EndpointsProgram
AnyProgram = Program | ServingProgram | TrafficProgram
PageKey = tuple[GroupId, NodeName]
ProgramKey = tuple[GroupId, Unit]

GRACE_S = 1.0
"""Seconds that an incomplete program may hold back the ones behind it: a hundred times what reading a group takes.
(The p99 of 1,000 nodes reading at once is longer, and then closing is right.)"""


class Step(Struct, frozen=True, kw_only=True):
    """Changes that take effect at once. Values are whole; None means gone."""

    upto: Revision
    whole: bool
    """The step is complete: what is not in it is gone. Set on a view's first step."""

    pages: dict[PageKey, Page | None]
    programs: dict[ProgramKey, Program | None]
    local: Local | None
    """The node's Pods, if they changed."""

    routes: dict[NodeName, NodeRoute | None] = {}
    """Routes to nodes, including this one."""

    serving: dict[Unit, ServingProgram | None] = {}
    """Programs of Services."""

    traffic: dict[ProgramKey, TrafficProgram | None] = {}
    """Programs of TrafficControls."""

    incomplete: tuple[Unit, ...] = ()
    """Units that were let through although pages of their peers are unknown; sorted."""


class Interests(NamedTuple):
    """Patterns of stored subjects: stop reading `drop`, then read `add`."""

    drop: frozenset[str]
    add: frozenset[str]


class _Late(NamedTuple):
    cause: Revision
    since_s: float


def _program(unit: Unit, body: bytes) -> AnyProgram:
    match subjects.unit_parts(unit)[0]:
        case Kind.SERVICE:
            return codec.decode(body, ServiceProgram)
        case Kind.ENDPOINT_SLICE:
            return codec.decode(body, EndpointsProgram)
        case Kind.TRAFFIC_CONTROL:
            return codec.decode(body, TrafficProgram)
        case _:
            return codec.decode(body, Program)


def peer_groups(program: AnyProgram) -> Iterator[GroupId]:
    """The groups whose members a node that has the program must know besides those that it applies to."""
    for rule in program.rules if isinstance(program, Program) else ():
        if asks_every_pod(rule):
            yield EVERY_POD_ID
        for peer in rule.peers or ():
            if isinstance(peer, GroupPeer):
                yield peer.group


class View:
    """The fold of one node's messages, for one backend and one epoch of the streams.

    Create a new one when a stream was recreated; until its first step, what was applied before stays in force.
    Mutable inside, so that a message costs what it changes.
    """

    def __init__(self, node: NodeName, backend: Backend) -> None:
        self._node, self._backend = node, backend
        self._base = frozenset(
            (
                subjects.owns(node),
                subjects.local(node),
                subjects.ROUTES,
                subjects.GROUP_MARKS,
                subjects.program_marks(backend),
                subjects.programs(backend, ALL_NODES),
            )
        )
        self._uses: Counter[str] = Counter(self._base)
        self._add: set[str] = set(self._base)
        self._drop: set[str] = set()
        self._answered: set[str] = set()
        self._group_marks: dict[int, Mark] = {}
        self._program_marks: dict[int, Mark] = {}
        # For each key the newest value, and the applied one.
        self._pages: dict[PageKey, Page] = {}
        self._programs: dict[ProgramKey, AnyProgram] = {}
        self.unread: dict[ProgramKey, Unread] = {}  # those whose newest value is not in `_programs`
        self._own: dict[int, Own] = {}
        self._applied_programs: dict[ProgramKey, AnyProgram] = {}
        self._applied_own: dict[int, Own] = {}
        self._nodes_of: dict[GroupId, set[NodeName]] = {}
        self._units_of: dict[GroupId, set[Unit]] = {}
        # Values that wait for a step, with their causes.
        self._late_pages: dict[PageKey, Revision] = {}
        self._late_programs: dict[ProgramKey, _Late] = {}
        self._late_own: dict[int, Revision] = {}
        self._late_local: Local | None = None
        self._late_routes: dict[NodeName, tuple[Revision, NodeRoute | None]] = {}
        self._incomplete: set[ProgramKey] = set()
        self._upto = NEVER
        self._started = False

    def interests(self) -> Interests:
        """Patterns to stop and start reading since the last call. Patterns in both must be read again."""
        changed = Interests(frozenset(self._drop), frozenset(self._add))
        self._drop.clear()
        self._add.clear()
        return changed

    @property
    def in_sync(self) -> bool:
        """Whether the first step was made."""
        return self._started

    @property
    def joined(self) -> Revision:
        """The revision up to which both streams are complete."""
        marks = _complete(self._group_marks), _complete(self._program_marks)
        return min(marks)

    def take(self, subject: str, body: bytes, cause: Revision, now_s: float) -> None:
        """Take in one stored value; an empty body is a tombstone, whose cause travels beside it.

        Raises:
            codec.Undecodable, subjects.BadSubject: nothing has changed, except for a program: see `unread`.
        """
        match subjects.parse(subject):
            case subjects.PageSubject(group, node):
                self._take_page((group, node), codec.decode(body, Page) if body else None, cause)
            case subjects.ProgramSubject(backend, group, unit) if backend == self._backend:
                try:
                    program = _program(unit, body) if body else None
                except codec.Undecodable as error:
                    self._take_unread((group, unit), body, cause, now_s, str(error))
                    raise
                self._take_program((group, unit), program, cause, now_s)
            case subjects.OwnSubject(node, shard) if node == self._node:
                none = Own(node=node, shard=shard, cause=cause, groups=())
                self._take_own(codec.decode(body, Own) if body else none)
            case subjects.LocalSubject(node) if node == self._node:
                empty = Local(node=node, cause=cause, pods=(), interfaces=())
                self._late_local = codec.decode(body, Local) if body else empty
            case subjects.RouteSubject(node):
                self._late_routes[node] = cause, codec.decode(body, NodeRoute) if body else None
            case subjects.GroupMarkSubject(shard) if body:
                self._group_marks[shard] = codec.decode(body, Mark)
            case subjects.ProgramMarkSubject(backend, shard) if backend == self._backend and body:
                self._program_marks[shard] = codec.decode(body, Mark)
            case _:
                pass  # not for us; patterns are wider than what we read

    def answered(self, patterns: Iterable[str]) -> None:
        """Everything stored under these patterns has been taken in."""
        self._answered |= self._uses.keys() & set(patterns)

    def step(self, now_s: float) -> Step | None:
        """What may be applied now, or None. The caller must apply it; the view considers it done."""
        if not self._base <= self._answered:
            return None
        if not self._started and not self._answered.issuperset(self._uses):
            return None
        upto, held = self._join_point(now_s)
        if upto == NEVER:
            return None
        for shard in [shard for shard, cause in self._late_own.items() if cause <= upto]:
            del self._late_own[shard]
            self._use(self._own_patterns(self._own[shard]), self._own_patterns(self._applied_own.get(shard)))
            self._applied_own[shard] = self._own[shard]
        programs: dict[ProgramKey, Program | None] = {}
        serving: dict[Unit, ServingProgram | None] = {}
        traffic: dict[ProgramKey, TrafficProgram | None] = {}
        for program_key in [key for key, late in self._late_programs.items() if late.cause <= upto and key not in held]:
            del self._late_programs[program_key]
            kind = subjects.unit_parts(program_key[1])[0]
            match self._apply_program(program_key):
                case Program() as program:
                    programs[program_key] = program
                case TrafficProgram() as program:
                    traffic[program_key] = program
                case ServiceProgram() | EndpointsProgram() as served:
                    serving[program_key[1]] = served
                case None if kind in SERVED:
                    serving[program_key[1]] = None
                case None if kind is Kind.TRAFFIC_CONTROL:
                    traffic[program_key] = None
                case None:
                    programs[program_key] = None
        pages: dict[PageKey, Page | None] = {}
        for page_key in [key for key, cause in self._late_pages.items() if cause <= upto]:
            del self._late_pages[page_key]
            pages[page_key] = self._pages.get(page_key)
        local = None
        if self._late_local is not None and self._late_local.cause <= upto:
            local, self._late_local = self._late_local, None
        due = [node for node, (cause, _) in self._late_routes.items() if cause <= upto]
        routes = {node: self._late_routes.pop(node)[1] for node in due}
        self._incomplete |= {key for key, program in programs.items() if program and not self._peers_known(program)}
        self._incomplete = {key for key in self._incomplete if not self._complete(key)}
        whole, self._started = not self._started, True
        if not (whole or pages or programs or serving or traffic or local or routes) and upto <= self._upto:
            return None
        self._upto = max(upto, self._upto)
        waiting = tuple(sorted({unit for _, unit in held | self._incomplete}))
        return Step(
            upto=upto,
            whole=whole,
            pages=pages,
            programs=programs,
            serving=serving,
            traffic=traffic,
            local=local,
            routes=routes,
            incomplete=waiting,
        )

    def next_deadline_s(self, now_s: float) -> float | None:
        """When to call `step` even if nothing arrives: at the end of the next grace period. Seconds, as `now_s`."""
        ends = [late.since_s + GRACE_S for late in self._late_programs.values()]
        return min((end for end in ends if end > now_s), default=None)

    def _join_point(self, now_s: float) -> tuple[Revision, set[ProgramKey]]:
        """The revision to apply up to, and the older programs that keep their previous form nevertheless."""
        upto = self.joined
        held: set[ProgramKey] = set()
        for key, late in self._late_programs.items():
            program = self._programs.get(key)
            if late.cause > upto or program is None or self._peers_known(program):
                continue
            if not self._overdue(late, now_s):
                upto = _before(late.cause)
            elif key in self._applied_programs:
                held.add(key)
        for shard, cause in self._late_own.items():
            if cause <= upto and not self._groups_known(self._own[shard]):
                upto = _before(cause)  # no grace: a Pod's port must not open before its programs are known
        return upto, held

    def _overdue(self, late: _Late, now_s: float) -> bool:
        return self._started and now_s - late.since_s >= GRACE_S

    def _peers_known(self, program: AnyProgram) -> bool:
        return all(subjects.pages(group) in self._answered for group in peer_groups(program))

    def _complete(self, key: ProgramKey) -> bool:
        applied = self._applied_programs.get(key)
        return applied is None or self._peers_known(applied)

    def _groups_known(self, own: Own) -> bool:
        return self._answered.issuperset(self._own_patterns(own))

    def _patterns(self, group: GroupId) -> tuple[str, str]:
        return subjects.programs(self._backend, group), subjects.page(group, self._node)

    def _own_patterns(self, own: Own | None) -> tuple[str, ...]:
        return () if own is None else tuple(pattern for group in own.groups for pattern in self._patterns(group))

    def _take_page(self, key: PageKey, page: Page | None, cause: Revision) -> None:
        group, node = key
        if subjects.pages(group) not in self._uses and subjects.page(group, node) not in self._uses:
            return  # in flight when the last program that refers to it went
        if page is None:
            self._pages.pop(key, None)
            self._nodes_of.get(group, set()).discard(node)
        else:
            self._pages[key] = page
            self._nodes_of.setdefault(group, set()).add(node)
        self._late_pages[key] = cause

    def _take_program(self, key: ProgramKey, program: AnyProgram | None, cause: Revision, now_s: float) -> None:
        group, unit = key
        if subjects.programs(self._backend, group) not in self._uses:
            return
        old = self._programs.pop(key, None)
        self.unread.pop(key, None)
        if program is None:
            self._units_of.get(group, set()).discard(unit)
        else:
            self._programs[key] = program
            self._units_of.setdefault(group, set()).add(unit)
        self._late_programs[key] = _Late(cause, now_s)
        self._use(_page_patterns(program), _page_patterns(old))

    def _take_unread(self, key: ProgramKey, body: bytes, cause: Revision, now_s: float, why: str) -> None:
        """Handle a program of another version: its previous form stays, or else a closed form replaces it."""
        kept = key in self._programs and (key not in self.unread or self.unread[key].kept)
        if not kept:
            self._take_program(key, closed_form(self._backend, *key, body, cause), cause, now_s)
        if subjects.programs(self._backend, key[0]) in self._uses:
            self.unread[key] = Unread(why, kept)

    def _take_own(self, own: Own) -> None:
        old = self._own.get(own.shard)
        self._own[own.shard] = own
        self._late_own[own.shard] = own.cause
        self._use(self._own_patterns(own), self._own_patterns(old))

    def _apply_program(self, key: ProgramKey) -> AnyProgram | None:
        new, old = self._programs.get(key), self._applied_programs.pop(key, None)
        if new is not None:
            self._applied_programs[key] = new
        self._use(_page_patterns(new), _page_patterns(old))
        return new

    def _use(self, more: Iterable[str], less: Iterable[str]) -> None:
        """Count users of patterns; an unused pattern is dropped, with what was read under it."""
        for pattern in more:
            self._uses[pattern] += 1
            if self._uses[pattern] == 1:
                self._add.add(pattern)
        for pattern in less:
            self._uses[pattern] -= 1
            if not self._uses[pattern]:
                del self._uses[pattern]
                self._answered.discard(pattern)
                if pattern not in self._add:
                    self._drop.add(pattern)  # it was requested
                self._add.discard(pattern)
                self._forget(pattern)

    def _forget(self, pattern: str) -> None:
        """Drop what was read under an unused pattern; the next step tells the backend."""
        match pattern.split("."):
            case ["programs", _, group, _]:
                for unit in self._units_of.pop(GroupId(group), set()):
                    key = GroupId(group), unit
                    self._late_programs[key] = _Late(NEVER, 0.0)
                    self.unread.pop(key, None)
                    self._use((), _page_patterns(self._programs.pop(key)))
            case ["groups", group, _] if subjects.pages(GroupId(group)) not in self._uses:
                nodes = self._nodes_of.get(GroupId(group), set())
                own = subjects.page(GroupId(group), self._node) in self._uses
                for node in [node for node in nodes if not (own and node == self._node)]:
                    nodes.discard(node)
                    del self._pages[GroupId(group), node]
                    self._late_pages[GroupId(group), node] = NEVER
            case _:
                pass


def _page_patterns(program: AnyProgram | None) -> tuple[str, ...]:
    return () if program is None else tuple(subjects.pages(group) for group in peer_groups(program))


def _complete(marks: dict[int, Mark]) -> Revision:
    """The oldest mark, if there is one of every shard; else NEVER."""
    if not marks:
        return NEVER
    shards = max(marks.values(), key=lambda mark: mark.upto).shards
    if any(shard not in marks for shard in range(shards)):
        return NEVER
    return min(marks[shard].upto for shard in range(shards))


def _before(revision: Revision) -> Revision:
    return Revision(revision.epoch, revision.sequence - 1)
