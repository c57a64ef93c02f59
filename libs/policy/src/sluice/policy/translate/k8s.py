"""Translates networking.k8s.io/v1 NetworkPolicy into the flat model; shared with MultiNetworkPolicy, see `multi`.

Source: Kubernetes API reference, NetworkPolicy v1, and pkg/apis/networking/validation. Whatever that validation rejects
is rejected here again, piece by piece: a rejected piece allows nothing, while the rest of the policy and the isolation
still apply (law 7).
"""

from collections.abc import Callable
from typing import TypeVar

from sluice.contracts import subjects
from sluice.contracts.ids import GroupId, Revision, Uid
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.objects import (
    K8sNetworkPolicy,
    MultiNetworkPolicy,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    PartlyKnownSpec,
    UnknownPeer,
    UnknownPort,
)
from sluice.contracts.programs import (
    ESTABLISHED,
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
from sluice.grouping.selectors import GroupSelector
from sluice.policy.everypod import EVERY_POD, EVERY_POD_ID, asks_every_pod
from sluice.policy.translate.blocks import block
from sluice.policy.translate.selecting import BadSelector, Group, pods_in, pods_of_namespaces
from sluice.policy.translate.translation import Refused, Translation, Untranslatable

P = TypeVar("P")
R = TypeVar("R")

_ALLOW = Action.ALLOW
_INGRESS, _EGRESS = Direction.INGRESS, Direction.EGRESS
_BOTH = _INGRESS, _EGRESS
_HIGHEST_PORT = 65_535
"""Source: RFC 9293, section 3.1."""

_UNKNOWN = "what it belongs to allows nothing, as this version does not know what it means; upgrade, or correct it"


Policy = K8sNetworkPolicy | MultiNetworkPolicy


class _Unknown(Refused):
    """The piece is not wholly known, which `PartlyKnownSpec.unknown` says already."""


def translate(policy: Policy, cause: Revision) -> Translation:
    """One program, for Pods.

    Raises:
        Untranslatable: the podSelector is invalid, so it cannot be determined what the policy applies to.
    """
    return _Translator(policy).translate(cause)


def groups_of(policy: Policy) -> dict[GroupId, GroupSelector]:
    """Only the groups of the translation; empty where that would raise."""
    namespace, spec = policy.metadata.namespace, policy.spec
    try:
        found = dict((pods_in(namespace, spec.pod_selector),))
    except BadSelector:
        return {}
    about = directions(policy)
    lists = [rule.from_ for rule in spec.ingress] if _INGRESS in about else []
    if _EGRESS in about:
        lists += [rule.to for rule in spec.egress]
        if any(not rule.to and any(isinstance(port.port, str) for port in rule.ports) for rule in spec.egress):
            found[EVERY_POD_ID] = EVERY_POD
    for peers in lists:
        for peer in peers:
            try:
                group = _group(namespace, peer)
            except BadSelector:  # translate() reports it
                continue
            if group:
                found[group[0]] = group[1]
    return found


def stays_at_home(policy: Policy) -> bool:
    """Whether no peer is selected outside the policy's Namespace, and no named port may refer to Pods anywhere."""
    spec = policy.spec
    for ingress in spec.ingress:
        for peer in ingress.from_:
            if peer.namespace_selector is not None:
                return False
    for egress in spec.egress:
        if not egress.to and any(isinstance(port.port, str) for port in egress.ports):
            return False
        for peer in egress.to:
            if peer.namespace_selector is not None:
                return False
    return True


def directions(policy: Policy) -> tuple[Direction, ...]:
    """The directions of the policy: its policyTypes, or else Ingress, and Egress too if it has an egress rule."""
    types = policy.spec.policy_types or (("Ingress", "Egress") if policy.spec.egress else ("Ingress",))
    if "Ingress" not in types:
        return (_EGRESS,)
    return _BOTH if "Egress" in types else (_INGRESS,)


class _Translator:
    """Collects the groups and the problems of one policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        multi = isinstance(policy, MultiNetworkPolicy)
        self._kind = Kind.MULTI_NETWORK_POLICY if multi else Kind.K8S_NETWORK_POLICY
        self._namespace = policy.metadata.namespace
        self._groups: dict[GroupId, GroupSelector] = {}
        self._problems: list[str] = []

    def translate(self, cause: Revision) -> Translation:
        meta, spec = self._policy.metadata, self._policy.spec
        try:
            applied_to = self._note(pods_in(self._namespace, spec.pod_selector))
        except BadSelector as bad:
            raise Untranslatable(f"{self._where()} $.spec.podSelector: {bad}") from bad
        if isinstance(spec, PartlyKnownSpec):
            self._problems += [f"{self._where()} {what}; {_UNKNOWN}" for what in spec.unknown]
        about = directions(self._policy)
        rules: list[Rule] = []
        if spec.ingress and _INGRESS in about:
            for index, ingress in enumerate(spec.ingress):
                rules.append(self._rule(_INGRESS, index, ingress, "from", ingress.from_))
        if spec.egress and _EGRESS in about:
            for index, egress in enumerate(spec.egress):
                rules.append(self._rule(_EGRESS, index, egress, "to", egress.to))
        program = Program(
            unit=subjects.unit(self._kind, meta.namespace, meta.name),
            applied_to=applied_to,
            cause=cause,
            origin=Origin(kind=self._kind, namespace=meta.namespace, name=meta.name, uid=Uid(meta.uid)),
            tier=K8S_TIER,
            priority=0,
            rules=tuple(rules),
            isolates=about,
            ends=meta.annotations.get(ESTABLISHED) == "end",
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
        made = Rule(
            index=index,
            direction=direction,
            action=_ALLOW,
            peers=self._each(peers, self._peer, direction, index, peers_field) if peers else None,
            traffic=self._each(rule.ports, _traffic, direction, index, "ports") if rule.ports else None,
        )
        if asks_every_pod(made):
            self._note((EVERY_POD_ID, EVERY_POD))
        return made

    def _each(
        self, pieces: tuple[P, ...], make: Callable[[P], R], direction: Direction, index: int, field: str
    ) -> tuple[R, ...]:
        """The meanings of the pieces, without duplicates; a refused piece is a problem and matches nothing."""
        made: list[R] = []
        for place, piece in enumerate(pieces):
            try:
                made.append(make(piece))
            except _Unknown:
                continue
            except Refused as refused:
                self._problems.append(f"{self._where()} $.spec.{direction}[{index}].{field}[{place}]: {refused}")
        return tuple(made) if len(made) == 1 else tuple(dict.fromkeys(made))

    def _peer(self, peer: NetworkPolicyPeer) -> Peer:
        group = _group(self._namespace, peer)
        if group:
            return GroupPeer(group=self._note(group))
        if isinstance(peer, UnknownPeer):
            raise _Unknown
        if peer.ip_block is None:
            raise Refused(
                "an empty peer could mean nothing or everything; give it a selector or an ipBlock, or leave out the "
                "list to mean everything"
            )
        if peer.pod_selector is not None or peer.namespace_selector is not None:
            raise Refused("a peer with both an ipBlock and a selector; write two peers")
        return block(peer.ip_block.cidr, peer.ip_block.except_)

    def _note(self, group: Group) -> GroupId:
        self._groups[group[0]] = group[1]
        return group[0]

    def _where(self) -> str:
        return f"{RESOURCES[self._kind].kind} {self._namespace}/{self._policy.metadata.name}"


def _group(namespace: str, peer: NetworkPolicyPeer) -> Group | None:
    """The group of a peer that consists of selectors; None if it has an ipBlock or no selector.

    Raises:
        BadSelector: see there.
    """
    if peer.ip_block is not None:
        return None
    if peer.namespace_selector is not None:
        return pods_of_namespaces(peer.namespace_selector, peer.pod_selector)
    return pods_in(namespace, peer.pod_selector) if peer.pod_selector is not None else None


def _traffic(port: NetworkPolicyPort) -> Traffic:
    first, last = port.port, port.end_port
    if last is not None and not isinstance(first, int):
        raise Refused(f"endPort {last} without a port number: a range needs a first port; give port as a number")
    if first is None:
        if isinstance(port, UnknownPort):
            raise _Unknown
        return TransportTraffic(protocol=port.protocol)
    if isinstance(first, str):
        if not first:
            raise Refused("an empty port name, which no container port has; leave port out to mean all ports")
        return TransportTraffic(protocol=port.protocol, ports=first)
    last = first if last is None else last
    if not 1 <= first <= last <= _HIGHEST_PORT:
        raise Refused(f"ports {first} to {last}: ports are 1 to 65535, the lower first; correct the numbers")
    return TransportTraffic(protocol=port.protocol, ports=PortRange(first, last))
