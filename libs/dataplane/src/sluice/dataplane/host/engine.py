"""What the node's table must hold, folded from programs, pages and routes: a mutable index behind a plain value.

Chains are rebuilt when a program or a lifeline changes, the sets of a group when one of its pages does. What did not
change is the same object as before, so that a plan can skip it by identity.

    input, output      known connections, lifelines, then `….rules`; undecided packets are accepted
    input.rules        the tiers, in order; what is passed or matches no rule goes on to the baseline
    input.baseline     the tier behind Kubernetes policies, in order
    input.again        the same two for established connections, while a policy ends such
    do.<id>, end.<id>  what a rule does, if that takes more than a line
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from sluice.contracts.groups import NodeRoute, Page
from sluice.contracts.ids import GroupId, NodeName, Unit
from sluice.contracts.programs import K8S_TIER, Direction, Program, Rule
from sluice.contracts.status import Problem
from sluice.dataplane.addresses import address
from sluice.dataplane.host.guard import HOOKS, Lifeline, lines
from sluice.dataplane.host.ids import RuleKey, rule_id
from sluice.dataplane.host.lower import VERSIONS, Lowered, Pairs, cidr_range, group_set, lower, merged
from sluice.dataplane.host.rules import closed_form, problems, widened
from sluice.dataplane.host.table import (
    Accept,
    Chain,
    Drop,
    Ended,
    Goto,
    Hook,
    InSet,
    Jump,
    Kind,
    Known,
    Line,
    Onward,
    Set,
    Side,
    Table,
    Version,
)
from sluice.policy.order import order

_Key = tuple[GroupId, Unit]

LOG_RATE = 500


class Placed(NamedTuple):
    """A rule in force."""

    program: Program
    rule: Rule


class _Lines(NamedTuple):
    chains: Mapping[str, Chain]
    groups: frozenset[GroupId]
    pairs: frozenset[Pairs]
    blocks: Mapping[str, Set]
    rules: Mapping[str, Placed]


class Engine:
    def __init__(self, node: NodeName, lifelines: Iterable[Lifeline] = (), log_rate: int = LOG_RATE) -> None:
        self._node, self._lifelines, self._log_rate = node, tuple(lifelines), log_rate
        self._programs: dict[_Key, Program] = {}
        """As received."""

        self._forms: dict[_Key, Program] = {}
        """As enforced."""

        self._pages: dict[GroupId, dict[NodeName, Page]] = {}
        self._unknown: frozenset[Unit] = frozenset()
        self._pods: dict[str, Set] = _pods(None)
        self._sets: dict[str, Set] = {}
        """The sets of groups, cached while their pages do not change."""

        self._lines: _Lines | None = None

    # ------------------------------------------------------------------------------------------------------- facts

    def put_program(self, program: Program) -> None:
        key = program.applied_to, program.unit
        self._programs[key] = program
        self._forms[key] = closed_form(program, self._forms.get(key))
        self._lines = None

    def drop_program(self, group: GroupId, unit: Unit) -> None:
        self._programs.pop((group, unit), None)
        self._forms.pop((group, unit), None)
        self._lines = None

    def put_page(self, page: Page) -> None:
        self._pages.setdefault(page.group, {})[page.node] = page
        self._page_changed(page.group, page.node)

    def drop_page(self, group: GroupId, node: NodeName) -> None:
        self._pages.get(group, {}).pop(node, None)
        self._page_changed(group, node)

    def unknown_are(self, units: Iterable[Unit]) -> None:
        """Set which programs have peers whose members are not known."""
        units = frozenset(units)
        if units != self._unknown:
            self._unknown, self._lines = units, None

    def guard_is(self, lifelines: Iterable[Lifeline]) -> None:
        """Set the lifelines, which pass whatever policies say."""
        lifelines = tuple(lifelines)
        if lifelines != self._lifelines:
            self._lifelines, self._lines = lifelines, None

    def route_is(self, route: NodeRoute | None) -> None:
        """Set the route, which names the node's own Pods; the node may always reach them."""
        self._pods = _pods(route)

    def _page_changed(self, group: GroupId, node: NodeName) -> None:
        for name in [name for name in self._sets if name.split(".")[1] == group]:
            del self._sets[name]
        if node == self._node:
            self._lines = None  # the programs that apply to the node may change

    # --------------------------------------------------------------------------------------------------- questions

    @property
    def rules(self) -> Mapping[str, Placed]:
        """Rules in force, by id."""
        return self._made().rules

    @property
    def lifelines(self) -> tuple[Lifeline, ...]:
        return self._lifelines

    def problems(self) -> tuple[Problem, ...]:
        """Problems of rules not in force as written, in programs that apply to the node; sorted."""
        return tuple(sorted(each for key in self._here() for each in problems(self._programs[key])))

    def table(self) -> Table:
        made = self._made()
        sets = {**self._pods, **made.blocks}
        for group in made.groups:
            for version in VERSIONS:
                sets[group_set(group, version)] = self._group(group, version)
        for pairs in made.pairs:
            sets[pairs.set] = self._paired(pairs)
        return Table(made.chains, sets, frozenset(made.rules), self._log_rate)

    def _here(self) -> list[_Key]:
        """Keys of the programs that apply to the node."""
        return sorted(key for key in self._programs if self._node in self._pages.get(key[0], {}))

    def _made(self) -> _Lines:
        if self._lines is None:
            self._lines = self._make()
        return self._lines

    def _make(self) -> _Lines:
        forms = [self._forms[key] for key in self._here()]
        forms = [widened(form) if form.unit in self._unknown else form for form in forms]
        placed = sorted(
            (Placed(form, rule) for form in forms for rule in form.rules), key=lambda one: order(one.program, one.rule)
        )
        ends = any(form.ends for form in forms)
        chains: dict[str, Chain] = {}
        needs: list[Lowered] = []
        for direction, hook in HOOKS.items():
            made = [(one.program, lower(one.program, one.rule, *_behind(one.program, hook))) for one in placed
                    if one.rule.direction is direction]  # fmt: skip
            needs += [lowered for _, lowered in made]
            chains[hook] = Chain(tuple(self._first(direction, hook, ends=ends)), hook)
            tiers = [lowered for program, lowered in made if program.tier < K8S_TIER]
            baseline = [lowered for program, lowered in made if program.tier > K8S_TIER]
            onward = Line((), Goto(f"{hook}.baseline"), "the baseline")
            chains[f"{hook}.rules"] = Chain((*(line for one in tiers for line in one.lines), onward))
            chains[f"{hook}.baseline"] = Chain(tuple(line for one in baseline for line in one.lines))
            if ends:
                onward = Line((), Goto(f"{hook}.again.baseline"), "the baseline")
                chains[f"{hook}.again"] = Chain((*(line for one in tiers for line in one.again), onward))
                chains[f"{hook}.again.baseline"] = Chain(tuple(line for one in baseline for line in one.again))
        blocks: dict[str, Set] = {}
        for lowered in needs:
            chains |= lowered.chains
            blocks |= lowered.blocks
        return _Lines(
            chains,
            frozenset().union(*(lowered.groups for lowered in needs)),
            frozenset().union(*(lowered.pairs for lowered in needs)),
            blocks,
            {_id(one): one for one in placed},
        )

    def _first(self, direction: Direction, hook: Hook, *, ends: bool) -> Iterator[Line]:
        """The lines at the beginning of a hook's chain."""
        known = Line((Known(),), Accept(), "it belongs to an allowed connection, or is an error about one")
        if not ends:
            yield known
        yield from lines(direction, self._lifelines)
        if direction is Direction.EGRESS:
            for name, set_ in self._pods.items():
                yield Line((InSet(Side.DESTINATION, set_.version, name),), Accept(), "lifeline: the node's own Pods")
        if ends:
            yield Line((Ended(),), Drop(), "its connection was ended")
            yield Line((Known(), Onward()), Jump(f"{hook}.again"), "check whether its connection may go on")
            yield known
        yield Line((), Jump(f"{hook}.rules"), "policies")

    def _group(self, group: GroupId, version: Version) -> Set:
        name = group_set(group, version)
        if name not in self._sets:
            found = (address(text) for page in self._pages.get(group, {}).values() for member in page.members
                     for text in member.addresses)  # fmt: skip
            elements = frozenset((one.value, 0) for one in found if one.version == version)
            self._sets[name] = Set(version, Kind.ADDRESSES, elements)
        return self._sets[name]

    def _paired(self, pairs: Pairs) -> Set:
        if pairs.set not in self._sets:
            elements = frozenset(
                (one.value, port.port)
                for page in self._pages.get(pairs.group, {}).values()
                for member in page.members
                for port in member.ports
                if (port.name, port.protocol) == (pairs.name, pairs.protocol)
                for one in map(address, member.addresses)
                if one.version == pairs.version
            )
            self._sets[pairs.set] = Set(pairs.version, Kind.PAIRS, elements)
        return self._sets[pairs.set]


def _id(one: Placed) -> str:
    return rule_id(RuleKey(one.program.unit, one.rule.direction, one.rule.index))


def _behind(program: Program, hook: Hook) -> tuple[str, str]:
    """The chains in which passed packets continue: for new connections, and for established ones."""
    return (f"{hook}.baseline", f"{hook}.again.baseline") if program.tier < K8S_TIER else ("", "")


def _pods(route: NodeRoute | None) -> dict[str, Set]:
    """The sets of the node's own Pods."""
    cidrs = (*route.pod_cidrs, *route.strays) if route else ()
    ranges = [cidr_range(text) for text in cidrs]
    return {
        f"pods{version}": Set(version, Kind.RANGES, merged((one[1], one[2]) for one in ranges if one[0] == version))
        for version in VERSIONS
    }
