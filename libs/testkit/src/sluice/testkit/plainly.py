"""What admitted policies say about a packet, derived directly from the objects as written, step by step.

Written from the documentation of the kinds alone: without programs, group ids or normal forms. It is an independent
check of `policy.translate`, which `verdict()` and every datapath rely on.
"""

from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from sluice.contracts.antrea import STATIC_TIERS, AntreaPeer, AntreaPort, AntreaRule, AppliedTo, tier_name
from sluice.contracts.antrea_groups import GroupSpec
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import (
    AntreaGroup,
    AntreaNetworkPolicy,
    AnyObject,
    ClusterGroup,
    ClusterNetworkPolicy,
    K8sNetworkPolicy,
    LabelSelector,
    Namespace,
    NamespacedName,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    Pod,
    Tier,
)
from sluice.contracts.services import Service
from sluice.policy.packet import Packet
from sluice.testkit.plain_traffic import End, asks, fits, in_block, is_about, is_member, is_port, runs_as

KUBERNETES = 252
"""The place of Kubernetes policies among the tiers: after all that can be created, before the baseline (253)."""


class Said(NamedTuple):
    """What becomes of a packet in one direction, and by which policy (kind, namespace, name), if any."""

    action: str
    by: tuple[str, str, str] | None = None


NOTHING = Said("Allow")

SHUT = 1 << 16
"""Stands for the number of a rule if no rule allows."""

Rank = tuple[int, float, int, str, str, str]
"""Tier, priority, index, and what makes the order total."""


class Plainly:
    """A cluster of these objects, all of them admitted."""

    def __init__(self, objects: Iterable[AnyObject]) -> None:
        self._objects = tuple(objects)
        self._labels = {one.metadata.name: one.metadata.labels for one in self._objects if isinstance(one, Namespace)}
        made = {one.metadata.name: one.spec.priority for one in self._objects if isinstance(one, Tier)}
        self._tiers = {**made, **STATIC_TIERS}
        self._groups = {one.key: one.spec for one in self._objects if isinstance(one, ClusterGroup | AntreaGroup)}
        self._services = {one.key: one for one in self._objects if isinstance(one, Service)}

    def egress(self, packet: Packet, source: End, to: End) -> Said:
        """At the sending Pod or node."""
        return self._said("egress", packet, source, to, named=to)

    def ingress(self, packet: Packet, source: End, to: End) -> Said:
        """At the receiving Pod or node."""
        return self._said("ingress", packet, to, source, named=to)

    def at_node_port(self, packet: Packet, source: End, to: End) -> Said:
        """At the node through whose NodePort the packet reaches its Service."""
        assert packet.service is not None
        name = packet.service.namespace, packet.service.name
        found = [
            (rank, rule)
            for rank, policy, rule in self._antrea("ingress")
            if any(_is(one.service, name) for one in rule.applied_to or policy.spec.applied_to)
            and self._peers(rule.from_, policy, None, source)
            and is_about(rule, packet, to)
        ]
        return _decided(found, (), packet)

    # ----------------------------------------------------------------------------------------------------- direction

    def _said(self, direction: str, packet: Packet, own: End, other: End, *, named: End) -> Said:
        """At `own`; `named` is the packet's receiver, where named ports are looked up."""
        found = []
        for rank, policy, rule in self._antrea(direction):
            if not self._applies(rule.applied_to or policy.spec.applied_to, policy, own):
                continue
            if rule.to_services:
                by = packet.service if direction == "egress" and not packet.node_port else None
                home = policy.metadata.namespace
                if by and any((one.namespace or home, one.name) == (by.namespace, by.name) for one in rule.to_services):
                    found.append((rank, rule))
                continue
            fqdn = packet.fqdn if direction == "egress" else ""
            peers = rule.from_ if direction == "ingress" else rule.to
            if self._peers(peers, policy, own.pod, other, fqdn) and is_about(rule, packet, named):
                found.append((rank, rule))
        return _decided(found, self._kubernetes(direction, packet, own, other, named), packet)

    def _antrea(self, direction: str) -> Iterator[tuple[Rank, ClusterNetworkPolicy | AntreaNetworkPolicy, AntreaRule]]:
        for policy in self._objects:
            if not isinstance(policy, ClusterNetworkPolicy | AntreaNetworkPolicy) or self._reaches_out(policy):
                continue
            wide = isinstance(policy, ClusterNetworkPolicy)
            kind = Kind.CLUSTER_NETWORK_POLICY if wide else Kind.ANTREA_NETWORK_POLICY
            tier = self._tiers[tier_name(policy.spec.tier)]
            rules = policy.spec.ingress if direction == "ingress" else policy.spec.egress
            for index, rule in enumerate(rules):
                yield (tier, policy.spec.priority, index, kind.value, *policy.key), policy, rule

    def _kubernetes(
        self, direction: str, packet: Packet, own: End, other: End, named: End
    ) -> list[tuple[int, str, str, str]]:
        """The policies that isolate the Pod here, each with the number of its first allowing rule, or SHUT."""
        found = []
        for policy in self._objects:
            if not isinstance(policy, K8sNetworkPolicy) or not is_member(own.pod):
                continue
            spec, home = policy.spec, policy.metadata.namespace
            assert own.pod is not None
            types = spec.policy_types or (("Ingress", "Egress") if spec.egress else ("Ingress",))
            if own.pod.metadata.namespace != home or not fits(spec.pod_selector, own.pod.metadata.labels):
                continue
            if direction.title() not in types:
                continue
            rules: tuple[NetworkPolicyIngressRule | NetworkPolicyEgressRule, ...]
            rules = (*spec.ingress,) if direction == "ingress" else (*spec.egress,)
            opening = (at for at, rule in enumerate(rules) if self._opens(rule, home, packet, other, named))
            found.append((next(opening, SHUT), Kind.K8S_NETWORK_POLICY.value, *policy.key))
        return sorted(found)

    def _opens(
        self,
        rule: NetworkPolicyIngressRule | NetworkPolicyEgressRule,
        home: str,
        packet: Packet,
        other: End,
        named: End,
    ) -> bool:
        peers = rule.from_ if isinstance(rule, NetworkPolicyIngressRule) else rule.to
        if peers and not any(self._is_peer(peer, home, other) for peer in peers):
            return False
        return not rule.ports or any(
            is_port(AntreaPort(protocol=one.protocol, port=one.port, end_port=one.end_port), packet, named)
            for one in rule.ports
        )

    def _is_peer(self, peer: NetworkPolicyPeer, home: str, other: End) -> bool:
        if peer.ip_block is not None:
            return in_block(other.address, peer.ip_block)
        return self._selected(peer.pod_selector, peer.namespace_selector, home, other.pod)

    # --------------------------------------------------------------------------------------------------------- whom

    def _selected(
        self, pods: LabelSelector | None, namespaces: LabelSelector | None, home: str, pod: Pod | None
    ) -> bool:
        """Whether the Pod is selected: in the home Namespace (empty: in any), or in the selected ones."""
        if pod is None or not is_member(pod):
            return False
        of = pod.metadata.namespace
        if namespaces is not None:
            if of not in self._labels or not fits(namespaces, self._labels[of]):
                return False
        elif home not in ("", of):
            return False
        return pods is None or fits(pods, pod.metadata.labels)

    def _applies(
        self, entries: Sequence[AppliedTo], policy: ClusterNetworkPolicy | AntreaNetworkPolicy, own: End
    ) -> bool:
        """Whether the policy, or its rule, applies to this Pod or node; not if its labels make it meaningless."""
        home = policy.metadata.namespace
        rules = (*policy.spec.ingress, *policy.spec.egress)
        relative = [peer.namespaces for rule in rules for peer in (*rule.from_, *rule.to) if peer.namespaces]
        if relative and own.pod is not None and all(one.same_labels for one in relative):
            labels = self._labels.get(own.pod.metadata.namespace, {})
            if not any(all(key in labels for key in one.same_labels) for one in relative):
                return False
        for one in entries:
            if one.group:
                if self._in_group((home, one.group), own, applied=True):
                    return True
            elif one.service_account is not None:
                if runs_as(own.pod, one.service_account):
                    return True
            elif one.node_selector is not None:
                if own.node is not None and fits(one.node_selector, own.node.metadata.labels):
                    return True
            elif one.service is None and self._selected(one.pod_selector, one.namespace_selector, home, own.pod):
                return True
        return False

    def _peers(
        self,
        peers: Sequence[AntreaPeer],
        policy: ClusterNetworkPolicy | AntreaNetworkPolicy,
        own: Pod | None,
        other: End,
        fqdn: str = "",
    ) -> bool:
        return not peers or any(self._peer(one, policy.metadata.namespace, own, other, fqdn) for one in peers)

    def _peer(self, peer: AntreaPeer, home: str, own: Pod | None, other: End, fqdn: str) -> bool:
        if peer.ip_block is not None:
            return in_block(other.address, peer.ip_block)
        if peer.group:
            return self._in_group((home, peer.group), other)
        if peer.service_account is not None:
            return runs_as(other.pod, peer.service_account)
        if peer.node_selector is not None:
            return other.node is not None and fits(peer.node_selector, other.node.metadata.labels)
        if peer.fqdn:
            return bool(fqdn) and fnmatchcase(fqdn.lower(), peer.fqdn.lower())
        if peer.namespaces is None:
            return self._selected(peer.pod_selector, peer.namespace_selector, home, other.pod)
        if own is None or other.pod is None or not self._selected(peer.pod_selector, None, "", other.pod):
            return False
        mine, theirs = own.metadata.namespace, other.pod.metadata.namespace
        if not peer.namespaces.same_labels:
            return mine == theirs
        return all(
            key in self._labels.get(mine, {})
            and key in self._labels.get(theirs, {})
            and self._labels[mine][key] == self._labels[theirs][key]
            for key in peer.namespaces.same_labels
        )

    def _in_group(self, name: tuple[str, str], end: End, *, applied: bool = False) -> bool:
        """Address blocks in groups do not count for appliedTo."""
        return any(self._in_one(spec, name[0], end, applied=applied) for spec in self._with_children(name))

    def _with_children(self, name: tuple[str, str]) -> Iterator[GroupSpec]:
        spec = self._groups.get(name)
        if spec is not None:
            yield spec
            yield from (self._groups[name[0], one] for one in spec.child_groups if (name[0], one) in self._groups)

    def _in_one(self, spec: GroupSpec, home: str, end: End, *, applied: bool) -> bool:
        blocks = spec.ip_blocks or ((spec.ip_block,) if spec.ip_block else ())
        if blocks:
            return not applied and any(in_block(end.address, block) for block in blocks)
        if spec.service_reference is not None:
            service = self._services.get((spec.service_reference.namespace, spec.service_reference.name))
            if service is None or not service.spec.selector:
                return False
            wanted = LabelSelector(match_labels=dict(service.spec.selector))
            return self._selected(wanted, None, spec.service_reference.namespace, end.pod)
        if spec.node_selector is not None:
            return end.node is not None and fits(spec.node_selector, end.node.metadata.labels)
        if spec.pod_selector is None and spec.namespace_selector is None:
            return False
        return self._selected(spec.pod_selector, spec.namespace_selector, home, end.pod)

    def _reaches_out(self, policy: ClusterNetworkPolicy | AntreaNetworkPolicy) -> bool:
        """A NetworkPolicy applied to a Group that spans several Namespaces has no effect anywhere."""
        home = policy.metadata.namespace
        lists = [policy.spec.applied_to, *(rule.applied_to for rule in (*policy.spec.ingress, *policy.spec.egress))]
        if not home:
            return False
        for entry in (entry for entries in lists for entry in entries if entry.group):
            for spec in self._with_children((home, entry.group)):
                reference = spec.service_reference
                service = self._services.get((reference.namespace, reference.name)) if reference else None
                if service and service.spec.selector and service.metadata.namespace != home:
                    return True
                if spec.namespace_selector is not None and any(
                    name != home and fits(spec.namespace_selector, labels) for name, labels in self._labels.items()
                ):
                    return True
        return False


def _decided(
    rules: list[tuple[Rank, AntreaRule]], kubernetes: Sequence[tuple[int, str, str, str]], packet: Packet
) -> Said:
    """The first matching tier rule; if there is none, or it passes, Kubernetes policies; then the baseline's first.

    Kubernetes policies are a union: the first one that allows stands for all of them.
    """
    before = min((one for one in rules if one[0][0] < KUBERNETES), key=lambda one: one[0], default=None)
    if before is not None and before[1].action != "Pass":
        return Said(_action(before[1], packet), before[0][3:])
    if kubernetes:
        at, *by = kubernetes[0]
        return Said("Allow" if at != SHUT else "Drop", (by[0], by[1], by[2]))
    baseline = min((one for one in rules if one[0][0] > KUBERNETES), key=lambda one: one[0], default=None)
    return Said(_action(baseline[1], packet), baseline[0][3:]) if baseline is not None else NOTHING


def _action(rule: AntreaRule, packet: Packet) -> str:
    """The rule's action for a packet that it matches; a layer 7 rule denies requests that it does not list."""
    if rule.l7_protocols and not any(asks(one, packet) for one in rule.l7_protocols):
        return "Reject" if packet.protocol == "TCP" else "Drop"
    return "Drop" if rule.action == "Deny" else rule.action


def _is(service: NamespacedName | None, name: tuple[str, str]) -> bool:
    return service is not None and (service.namespace, service.name) == name
