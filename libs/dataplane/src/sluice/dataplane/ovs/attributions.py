"""Which rules log, what their log lines say, and which policies isolate whom: maintained incrementally.

Log lines name tables as Antrea does, whatever ours are called.
Source: docs "Antrea Network Policy CRDs", "enableLogging and logLabel".
"""

from collections.abc import Callable, Iterable, Iterator

from sluice.contracts.audit import Attribution, Decision
from sluice.contracts.groups import Member
from sluice.contracts.ids import GroupId, Uid, Unit
from sluice.contracts.programs import Action, Direction, Program
from sluice.dataplane.audit.attribution import ISOLATION_POLICY, Deciding, Ended, Isolated, Toward, What
from sluice.dataplane.ovs.ids import ISOLATION, RuleKey
from sluice.dataplane.ovs.layers import Layer
from sluice.dataplane.ovs.pipeline import Table
from sluice.dataplane.ovs.rules import Form
from sluice.policy.listing import SOURCES

TOWARD: dict[Direction, Toward] = {Direction.INGRESS: "Ingress", Direction.EGRESS: "Egress"}

TABLE_NAMES: dict[int, str] = {
    Table.NODE_PORT: "AntreaPolicyIngressRule",
    Table.NODE_PORT_DEFAULT: "IngressDefaultRule",
    Table.INGRESS_TIER: "AntreaPolicyIngressRule",
    Table.INGRESS_K8S: "IngressRule",
    Table.INGRESS_DEFAULT: "IngressDefaultRule",
    Table.EGRESS_TIER: "AntreaPolicyEgressRule",
    Table.EGRESS_K8S: "EgressRule",
    Table.EGRESS_DEFAULT: "EgressDefaultRule",
}

_DECISIONS: dict[Action, Decision] = {
    Action.ALLOW: "Allow",
    Action.DROP: "Drop",
    Action.REJECT: "Reject",
    Action.PASS: "Pass",
}

ProgramKey = tuple[GroupId, Unit]


class Attributions:
    """Fed by the engine; `drain` returns what changed."""

    def __init__(self) -> None:
        self._programs: dict[ProgramKey, Program] = {}
        """Programs that log anything."""

        self._isolating: dict[GroupId, dict[Unit, Program]] = {}
        """Programs that log isolation, by group."""

        self._laid: dict[int, tuple[RuleKey, Form, Layer, bool]] = {}
        """Rules that log, by id."""

        self._ids: dict[ProgramKey, set[int]] = {}
        self._touched: set[int] = set()
        self._told: dict[int, Deciding] = {}
        self._joined: dict[Uid, str] = {}
        """Pods whose isolation may have changed."""

        self._regrouped: set[GroupId] = set()
        self._named: dict[str, set[Uid]] = {}
        """Isolated Pods by name: a new one may have the name of one that is just going away."""

        self._isolated: dict[tuple[str, Toward], tuple[Attribution, ...]] = {}

    def put(self, key: ProgramKey, program: Program | None) -> None:
        """The program is in force in this closed form; None: not at all."""
        before = self._programs.pop(key, None)
        if before is not None and before.logs_isolation:
            self._regrouped.add(key[0])
            del self._isolating[key[0]][key[1]]
        if program is not None and (program.logs_isolation or any(rule.logs for rule in program.rules)):
            self._programs[key] = program
            self._touched |= self._ids.get(key, set())
            if program.logs_isolation:
                self._regrouped.add(key[0])
                self._isolating.setdefault(key[0], {})[key[1]] = program

    def lay(self, rule: RuleKey, id: int, form: Form | None, where: Layer | None, *, judged: bool = True) -> None:
        """The rule is installed in this form and layer; None: it is not.

        Args:
            judged: whether the inspection engine can judge what the rule allows; if it cannot, that is dropped.
        """
        key = rule.applied_to, rule.unit
        if form is not None and where is not None and form.logs:
            self._laid[id] = rule, form, where, judged
            self._ids.setdefault(key, set()).add(id)
        elif self._laid.pop(id, None) is not None:
            self._ids[key].discard(id)
            if not self._ids[key]:
                del self._ids[key]
        else:
            return
        self._touched.add(id)

    def join(self, member: Member) -> None:
        """The Pod of this node joined or left a group."""
        self._joined[member.uid] = member.pod

    def drain(
        self, members: Callable[[GroupId], Iterable[Member]], groups: Callable[[Uid], Iterable[GroupId]]
    ) -> tuple[What, ...]:
        """The attributions that changed since the last call.

        Args:
            members: returns a group's members on this node.
            groups: returns the groups of a Pod of this node.
        """
        return (*self._rules(), *self._pods(members, groups))

    def _rules(self) -> Iterator[What]:
        touched, self._touched = self._touched, set()
        for number in sorted(touched):
            now = self._deciding(number)
            if now is None:
                if self._told.pop(number, None) is not None:
                    yield Ended(id=number)
            elif self._told.get(number) != now:
                self._told[number] = now
                yield now

    def _deciding(self, id: int) -> Deciding | None:
        laid = self._laid.get(id)
        program = self._programs.get((laid[0].applied_to, laid[0].unit)) if laid else None
        if laid is None or program is None:
            return None
        key, form, where, judged = laid
        if key.rule == ISOLATION:
            return Deciding(
                id=id,
                table=TABLE_NAMES[where.table],
                policy=ISOLATION_POLICY,
                direction=TOWARD[key.direction],
                action="Drop",
                unit=key.unit,
                revision=program.cause,
            )
        rule = next(one for one in program.rules if one.direction is key.direction and one.index == key.rule)
        origin = program.origin
        name = f"{origin.namespace}/{origin.name}" if origin.namespace else origin.name
        return Deciding(
            id=id,
            table=TABLE_NAMES[where.table],
            policy=f"{SOURCES[origin.kind]}:{name}",
            rule=rule.name,
            direction=TOWARD[key.direction],
            action=_DECISIONS[form.action] if not form.inspected_by else "Redirect" if judged else "Drop",
            priority=where.priority,
            label=rule.log_label,
            unit=key.unit,
            index=key.rule,
            revision=program.cause,
        )

    def _pods(
        self, members: Callable[[GroupId], Iterable[Member]], groups: Callable[[Uid], Iterable[GroupId]]
    ) -> Iterator[Isolated]:
        joined, self._joined = self._joined, {}
        for group in self._regrouped:
            joined |= {member.uid: member.pod for member in members(group)}
        self._regrouped.clear()
        for uid, pod in joined.items():
            named = self._named.setdefault(pod, set())
            (named.add if any(self._isolating.get(group) for group in groups(uid)) else named.discard)(uid)
        for pod in sorted(set(joined.values())):
            programs = {
                program.unit: program
                for uid in self._named[pod]
                for group in groups(uid)
                for program in self._isolating.get(group, {}).values()
            }
            if not self._named[pod]:
                del self._named[pod]
            for direction, toward in TOWARD.items():
                by = tuple(
                    Attribution(unit=unit, revision=program.cause)
                    for unit, program in sorted(programs.items())
                    if direction in program.isolates
                )
                if by != self._isolated.get((pod, toward), ()):
                    yield Isolated(pod=pod, direction=toward, by=by)
                self._isolated.pop((pod, toward), None)
                if by:
                    self._isolated[pod, toward] = by
