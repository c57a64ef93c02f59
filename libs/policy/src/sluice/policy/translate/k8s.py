"""networking.k8s.io/v1 NetworkPolicy into the flat model.

Source: Kubernetes API reference, NetworkPolicy v1, and pkg/apis/networking/validation. Everything that validation
refuses is refused here again, piece by piece: a piece that is refused allows nothing, the rest stands, and the
isolation always does (law 7).
"""

from collections.abc import Callable
from typing import TypeVar

from sluice.contracts import subjects
from sluice.contracts.ids import GroupId, Revision, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import (
    K8sNetworkPolicy,
    LabelSelector,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
)
from sluice.contracts.programs import (
    K8S_TIER,
    Action,
    Direction,
    GroupPeer,
    Origin,
    Peer,
    PortRange,
    Program,
    Rule,
    Traffic,
    TransportTraffic,
)
from sluice.grouping.selectors import GroupSelector, Selector, SelectorTerm, normalise, union
from sluice.policy.groupid import group_id
from sluice.policy.translate.blocks import BadBlock, block
from sluice.policy.translate.translation import Translation, Untranslatable

P = TypeVar("P")
R = TypeVar("R")


_HIGHEST_PORT = 65_535
"""Source: RFC 9293, section 3.1."""


class _Refused(ValueError):
    """This piece of the policy means nothing: what, why and what to do."""


def translate(policy: K8sNetworkPolicy, cause: Revision) -> Translation:
    """One program.

    Raises:
        Untranslatable: the podSelector is none, so that nobody can say whom the policy applies to.
    """
    return _Translator(policy).translate(cause)


def directions(policy: K8sNetworkPolicy) -> tuple[Direction, ...]:
    """The directions that the policy is about: its policyTypes, or Ingress, and Egress too if it has an egress rule."""
    types = policy.spec.policy_types or (("Ingress", "Egress") if policy.spec.egress else ("Ingress",))
    both = (("Ingress", Direction.INGRESS), ("Egress", Direction.EGRESS))
    return tuple([direction for name, direction in both if name in types])


class _Translator:
    """Collects the groups and the problems of one policy."""

    def __init__(self, policy: K8sNetworkPolicy) -> None:
        self._policy = policy
        self._namespace = policy.metadata.namespace
        self._groups: dict[GroupId, GroupSelector] = {}
        self._problems: list[str] = []

    def translate(self, cause: Revision) -> Translation:
        meta, spec = self._policy.metadata, self._policy.spec
        try:
            applied_to = self._group(SelectorTerm(namespace=meta.namespace, pod_selector=_selector(spec.pod_selector)))
        except _Refused as refused:
            raise Untranslatable(self._message("$.spec.podSelector", refused)) from refused
        about = directions(self._policy)
        rules: list[Rule] = []
        if Direction.INGRESS in about:
            for index, ingress in enumerate(spec.ingress):
                rules.append(self._rule(Direction.INGRESS, index, ingress, "from", ingress.from_))
        if Direction.EGRESS in about:
            for index, egress in enumerate(spec.egress):
                rules.append(self._rule(Direction.EGRESS, index, egress, "to", egress.to))
        program = Program(
            unit=subjects.unit(Kind.K8S_NETWORK_POLICY, meta.namespace, meta.name),
            applied_to=applied_to,
            cause=cause,
            origin=Origin(kind=Kind.K8S_NETWORK_POLICY, namespace=meta.namespace, name=meta.name, uid=Uid(meta.uid)),
            tier=K8S_TIER,
            priority=0,
            rules=tuple(rules),
            isolates=about,
        )
        return Translation((program,), self._groups, tuple(self._problems))

    def _rule(
        self,
        direction: Direction,
        index: int,
        rule: NetworkPolicyIngressRule | NetworkPolicyEgressRule,
        peers_field: str,
        peers: tuple[NetworkPolicyPeer, ...],
    ) -> Rule:
        path = f"$.spec.{direction}[{index}]"
        return Rule(
            index=index,
            direction=direction,
            action=Action.ALLOW,
            peers=self._each(f"{path}.{peers_field}", peers, self._peer) if peers else None,
            traffic=self._each(f"{path}.ports", rule.ports, _traffic) if rule.ports else None,
        )

    def _each(self, path: str, pieces: tuple[P, ...], make: Callable[[P], R]) -> tuple[R, ...]:
        """What the pieces mean, each meaning once; a refused piece means nothing and is a problem."""
        made: dict[R, None] = {}
        for index, piece in enumerate(pieces):
            try:
                made[make(piece)] = None
            except _Refused as refused:
                self._problems.append(self._message(f"{path}[{index}]", refused))
        return tuple(made)

    def _peer(self, peer: NetworkPolicyPeer) -> Peer:
        if peer.ip_block is not None:
            if peer.pod_selector is not None or peer.namespace_selector is not None:
                raise _Refused("ipBlock beside a selector: a peer is one or the other; make two peers of it")
            try:
                return block(peer.ip_block.cidr, peer.ip_block.except_)
            except BadBlock as bad:
                raise _Refused(f"ipBlock: {bad}") from bad
        if peer.pod_selector is None and peer.namespace_selector is None:
            raise _Refused("an empty peer: it could mean nobody or everybody; use a selector, or ipBlock, or no list")
        pods = _selector(peer.pod_selector or LabelSelector())
        if peer.namespace_selector is None:
            return GroupPeer(group=self._group(SelectorTerm(namespace=self._namespace, pod_selector=pods)))
        namespaces = _selector(peer.namespace_selector)
        return GroupPeer(group=self._group(SelectorTerm(namespace_selector=namespaces, pod_selector=pods)))

    def _group(self, term: SelectorTerm) -> GroupId:
        selector = union([term])
        group = group_id(selector)
        self._groups[group] = selector
        return group

    def _message(self, path: str, refused: _Refused) -> str:
        return f"NetworkPolicy {self._namespace}/{self._policy.metadata.name} {path}: {refused}"


def _selector(selector: LabelSelector) -> Selector:
    for requirement in selector.match_expressions:
        takes_values = requirement.operator in ("In", "NotIn")
        if takes_values and not requirement.values:
            raise _Refused(f"{requirement.key} {requirement.operator} nothing: it takes values; list at least one")
        if not takes_values and requirement.values:
            raise _Refused(f"{requirement.key} {requirement.operator}: it takes no values; remove them, or use In")
    return normalise(selector)


def _traffic(port: NetworkPolicyPort) -> Traffic:
    first, last = port.port, port.end_port
    if last is not None and not isinstance(first, int):
        raise _Refused(f"endPort {last} without a port number: a range needs its beginning; give port as a number")
    if first is None:
        return TransportTraffic(protocol=port.protocol)
    if isinstance(first, str):
        if not first:
            raise _Refused("an empty port name: no container port has it; leave port out to mean all")
        return TransportTraffic(protocol=port.protocol, ports=first)
    last = first if last is None else last
    if not 1 <= first <= last <= _HIGHEST_PORT:
        raise _Refused(f"ports {first} to {last}: ports are 1 to 65535, the lower first; correct the numbers")
    return TransportTraffic(protocol=port.protocol, ports=PortRange(first, last))
