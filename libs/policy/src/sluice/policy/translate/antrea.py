"""Translates ClusterNetworkPolicy and NetworkPolicy of crd.antrea.io/v1beta1 into the flat model.

Rules are grouped by what they apply to: the policy's appliedTo, or their own. Rules whose peers are relative to the
Namespace of a Pod (`namespaces`) are expanded: the rule is repeated, with the peers of that place, in a program for the
Pods of each Namespace (`match: Self`), or for each set of Namespaces with equal label values (`sameLabels`). A rule
keeps its index in all of them, so together these programs say what the rule says. Programs addressed to the same group
are merged.

A policy whose only relative peers are `sameLabels` has no effect in Namespaces without these labels, not even through
its other rules (docs "Antrea Network Policy CRDs", "Selecting Namespaces with the same label values").

The result is kept in parts: one that does not depend on Namespaces, one per Namespace, and one per set of Namespaces
with equal label values (a likeness). So a new Namespace only costs its own part, however many Namespaces there are.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from msgspec.structs import replace

from sluice.contracts import subjects
from sluice.contracts.antrea import AppliedTo, tier_name
from sluice.contracts.ids import ALL_NODES, GroupId, Revision, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AntreaPolicy, ClusterNetworkPolicy, LabelRequirement
from sluice.contracts.programs import ESTABLISHED, Direction, GroupPeer, Origin, Program, Rule
from sluice.grouping.selectors import GroupSelector
from sluice.policy.everypod import EVERY_POD, EVERY_POD_ID, asks_every_pod
from sluice.policy.translate.cluster import Cluster, Labels, LookedUp, Recorder
from sluice.policy.translate.pieces import Piece, Pieces
from sluice.policy.translate.selecting import Group, Selection, nodes_of_any, pods_of_any
from sluice.policy.translate.targets import Target, target
from sluice.policy.translate.translation import Translation, Untranslatable

Likeness = tuple[tuple[str, str], ...]
"""Labels and values that a set of Namespaces has in common."""

Part = tuple[int, int, str, Likeness]
"""A part for a Namespace or a likeness: kind (0 fixed, 1 Namespace, 2 likeness), index of the `_List`, Namespace name,
label values."""

FIXED: Part = (0, 0, "", ())
"""The part that does not depend on Namespaces."""

_Place = tuple[Direction, int]
_Rules = dict[_Place, Rule]


class Amendment(NamedTuple):
    """The changes to a draft caused by one event."""

    groups: frozenset[GroupId]
    """The groups whose programs must be fetched again."""

    parts: frozenset[Part]


class _List(NamedTuple):
    """Rules with the same target."""

    target: Target
    pieces: list[Piece]

    @property
    def wanted(self) -> set[tuple[str, ...]]:
        """The keys of each `sameLabels`; the empty tuple for `match: Self`."""
        return {spread.keys for piece in self.pieces for spread in piece.spreads}


def kind_of(policy: AntreaPolicy) -> Kind:
    return Kind.CLUSTER_NETWORK_POLICY if isinstance(policy, ClusterNetworkPolicy) else Kind.ANTREA_NETWORK_POLICY


def translate(policy: AntreaPolicy, cause: Revision, cluster: Cluster) -> Translation:
    """One program for each group that rules of the policy apply to.

    Raises:
        Untranslatable: its tier does not exist, or it cannot be determined what the policy applies to.
    """
    return Draft(policy, cluster).translation(cause)


class Draft:
    """The programs of one policy, kept up to date as Namespaces change."""

    def __init__(self, policy: AntreaPolicy, cluster: Cluster) -> None:
        self._policy, self._cluster = policy, Recorder(cluster)
        meta = policy.metadata
        kind = kind_of(policy)
        self._where = (
            f"NetworkPolicy {meta.namespace}/{meta.name}" if meta.namespace else f"ClusterNetworkPolicy {meta.name}"
        )
        self._pieces = Pieces(self._where, meta.namespace, self._cluster)
        self._origin = Origin(kind=kind, namespace=meta.namespace, name=meta.name, uid=Uid(meta.uid))
        self._unit = subjects.unit(kind, meta.namespace, meta.name)
        self._tier = 0
        self._lists: tuple[_List, ...] = ()
        self._parts: dict[Part, Mapping[GroupId, GroupSelector]] = {}
        self._applied: dict[Part, tuple[GroupId, ...]] = {}
        self._standing: dict[GroupId, dict[Part, _Rules]] = {}
        self._likenesses: Counter[Part] = Counter()
        """How many Namespaces each likeness part exists for."""

        self._seen: dict[str, tuple[Part, ...]] = {}
        self.failure: Untranslatable | None = None
        """Why the policy has no program at all; None if it was translated."""

        try:
            self._tier = self._find_tier()
            self._lists = tuple(self._gather())
            self._fill()
        except Untranslatable as failure:
            self.failure = failure

    # ----------------------------------------------------------------------------------------------------- questions

    def translation(self, cause: Revision) -> Translation:
        """All programs, and the groups that they name.

        Raises:
            Untranslatable: the policy has no program at all.
        """
        if self.failure is not None:
            raise self.failure
        programs = [self.program(group, cause) for group in sorted(self._standing)]
        groups = {group: selector for named in self._parts.values() for group, selector in named.items()}
        return Translation(tuple(one for one in programs if one is not None), groups, self.problems)

    @property
    def is_relative(self) -> bool:
        """Whether it has parts for Namespaces."""
        return any(one.wanted for one in self._lists)

    @property
    def looked_up(self) -> LookedUp:
        return self._cluster.looked_up

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(self._pieces.problems)

    @property
    def parts(self) -> Mapping[Part, Mapping[GroupId, GroupSelector]]:
        """The groups that each part names."""
        return self._parts

    def program(self, group: GroupId, cause: Revision) -> Program | None:
        """The program addressed to the group; None if there is none."""
        standing = self._standing.get(group)
        if standing is None:
            return None
        rules: _Rules = {}
        for part in sorted(standing):
            for place, rule in standing[part].items():
                _join(rules, place, rule)
        return Program(
            unit=self._unit,
            applied_to=group,
            cause=cause,
            origin=self._origin,
            tier=self._tier,
            priority=self._policy.spec.priority,
            rules=tuple(rules[place] for place in sorted(rules, key=_order)),
            about_nodes=group != ALL_NODES and bool(self._parts[min(standing)][group].nodes),
            ends=self._policy.metadata.annotations.get(ESTABLISHED) == "end",
        )

    # ------------------------------------------------------------------------------------------------------- changes

    def on_namespace(self, name: str) -> Amendment:
        """Take in that the Namespace was added, changed or removed; returns the changes."""
        before = self._seen.pop(name, ())
        labels = self._cluster.labels(name)
        after = self._parts_of(name, labels) if labels is not None else ()
        if after:
            self._seen[name] = after
        self._likenesses.update(part for part in after if part[3])
        self._likenesses.subtract(part for part in before if part[3])
        parts = frozenset((*before, *after))
        groups: set[GroupId] = set()
        for part in sorted(parts):
            if part[3] and self._likenesses[part]:
                if part not in self._parts:
                    groups |= self._put(part, self._alike(part))
            elif part[3]:
                del self._likenesses[part]
                groups |= self._put(part, ())
            else:
                groups |= self._put(part, self._own(part, labels) if labels is not None and part in after else ())
        return Amendment(frozenset(groups), parts)

    def _fill(self) -> None:
        self._put(FIXED, self._fixed())
        if not self.is_relative:
            return
        relative = [one for one in self._lists if one.wanted]
        selectors = {pods.namespace_selector() for one in relative for pods in one.target.pods}
        keys = {key for one in relative for wanted in one.wanted for key in wanted}
        for name in self._cluster.watch(sorted(selectors, key=repr), keys):
            self.on_namespace(name)

    def _parts_of(self, name: str, labels: Labels) -> tuple[Part, ...]:
        """The parts that this Namespace needs."""
        found: list[Part] = []
        for number, one in enumerate(self._lists):
            wanted = one.wanted
            if not wanted or not any(pods.takes(name, labels) for pods in one.target.pods):
                continue
            for keys in sorted(wanted):
                if not keys:
                    found.append((1, number, name, ()))
                elif all(key in labels for key in keys):
                    found.append((2, number, "", tuple((key, labels[key]) for key in keys)))
        return tuple(found)

    def _put(self, part: Part, stands: Iterable["_Stand"]) -> set[GroupId]:
        """Replace the rules of the part; returns the groups that had or have rules in it."""
        touched = set(self._applied.pop(part, ()))
        for group in touched:
            del self._standing[group][part]
        named: dict[GroupId, GroupSelector] = {}
        applied: dict[GroupId, None] = {}
        for group, rule, groups in stands:
            applied[group] = None
            named.update(groups)
            rules = self._standing.setdefault(group, {}).setdefault(part, {})
            _join(rules, (rule.direction, rule.index), rule)
        touched.update(applied)
        for group in touched:
            if not self._standing[group]:
                del self._standing[group]
        self._parts.pop(part, None)
        if applied:
            self._applied[part], self._parts[part] = tuple(applied), named
        return touched

    # --------------------------------------------------------------------------------------------------- what stands

    def _find_tier(self) -> int:
        name = tier_name(self._policy.spec.tier)
        tier = self._cluster.tier(name)
        if tier is None:
            raise Untranslatable(
                f"{self._where} $.spec.tier: there is no tier {name}, so the policy has no place in the order, "
                "and none of it is in force; create the tier, or name another"
            )
        return tier

    def _gather(self) -> Iterable[_List]:
        """The rules, grouped by their target."""
        spec = self._policy.spec
        common = self._target(spec.applied_to, "$.spec.appliedTo") if spec.applied_to else None
        lists: dict[Target, _List] = {}
        for direction, rules in ((Direction.INGRESS, spec.ingress), (Direction.EGRESS, spec.egress)):
            for index, rule in enumerate(rules):
                path = f"$.spec.{direction}[{index}]"
                own = common or self._target(rule.applied_to, f"{path}.appliedTo")
                if own.services and direction is Direction.EGRESS:
                    raise Untranslatable(
                        f"{self._where} {path}: it applies to a Service, which sends no packets; make it an "
                        "ingress rule"
                    )
                piece = self._pieces.make(direction, index, rule, path)
                lists.setdefault(own, _List(own, [])).pieces.append(piece)
        return lists.values()

    def _target(self, entries: tuple[AppliedTo, ...], path: str) -> Target:
        if not entries:
            raise Untranslatable(
                f"{self._where} {path}: missing, so the policy applies to nothing; say what it applies to"
            )
        return target(entries, path, self._where, self._policy.metadata.namespace, self._cluster)

    def _fixed(self) -> Iterator["_Stand"]:
        """The rules that do not depend on Namespaces."""
        keys = {wanted for one in self._lists for wanted in one.wanted}
        for (pods, nodes, services), pieces in self._lists:
            selections = _alone(pods, keys) if keys and () not in keys else pods
            for piece in pieces:
                if not piece.stands:
                    continue
                if selections:
                    yield self._stand(pods_of_any(selections), piece.rule)
                if nodes:
                    yield self._stand(nodes_of_any(nodes), piece.rule)
                if services:
                    yield _Stand(ALL_NODES, piece.for_services(services), {})

    def _own(self, part: Part, labels: Labels) -> Iterator["_Stand"]:
        """The rules for the Pods of one Namespace with these labels."""
        _, number, name, _ = part
        applied, pieces = self._lists[number]
        here = pods_of_any(tuple(one for one in applied.pods if one.takes(name, labels)), name)
        for piece in pieces:
            own = dict(pods_of_any((spread.pods,), name) for spread in piece.spreads if not spread.keys)
            if own:
                yield self._stand(here, piece.rule, own)

    def _alike(self, part: Part) -> Iterator["_Stand"]:
        """The rules for the Pods of Namespaces that have these labels in common."""
        _, number, _, alike = part
        applied, pieces = self._lists[number]
        keys = tuple(key for key, _ in alike)
        same = [LabelRequirement(key=key, operator="In", values=(value,)) for key, value in alike]
        here = pods_of_any(tuple(one.where(*same) for one in applied.pods))
        for piece in pieces:
            own = dict(pods_of_any((spread.pods.where(*same),)) for spread in piece.spreads if spread.keys == keys)
            if own:
                yield self._stand(here, piece.rule, own)

    def _stand(self, applied: Group, rule: Rule, relative: Mapping[GroupId, GroupSelector] | None = None) -> "_Stand":
        """The rule for this group; if it is expanded, with these relative peers instead of the fixed ones."""
        if relative is not None:
            rule = replace(rule, peers=tuple(GroupPeer(group=group) for group in relative))
            return _Stand(applied[0], rule, {applied[0]: applied[1], **relative})
        known = self._pieces.groups
        peers = {peer.group: known[peer.group] for peer in rule.peers or () if isinstance(peer, GroupPeer)}
        if asks_every_pod(rule):
            peers[EVERY_POD_ID] = EVERY_POD
        return _Stand(applied[0], rule, {applied[0]: applied[1], **peers})


class _Stand(NamedTuple):
    """A rule addressed to a group."""

    group: GroupId
    rule: Rule
    named: Mapping[GroupId, GroupSelector]
    """All groups that it names."""


def _alone(pods: tuple[Selection, ...], keys: Iterable[tuple[str, ...]]) -> tuple[Selection, ...]:
    """The selections, restricted to Namespaces with all labels of a relative peer; elsewhere there is no effect."""
    return tuple(
        one.where(*(LabelRequirement(key=key, operator="Exists") for key in wanted))
        for wanted in sorted(keys)
        for one in pods
    )


def _join(rules: _Rules, place: _Place, rule: Rule) -> None:
    """Add the rule at this place; if there is one already, the result has the peers of both."""
    before = rules.get(place)
    if before is not None:
        both = None if before.peers is None or rule.peers is None else (*before.peers, *rule.peers)
        rule = replace(rule, peers=None if both is None else tuple(dict.fromkeys(both)))
    rules[place] = rule


def _order(place: _Place) -> tuple[bool, int]:
    """Sort key: ingress first."""
    return place[0] is Direction.EGRESS, place[1]
