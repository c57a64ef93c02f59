"""One rule of an Antrea-native policy, without what it applies to.

Peers relative to the Namespace of the Pod that the rule applies to (`namespaces`) are kept separate: they become groups
when the rule is expanded over Namespaces.

Whatever admission rejects is rejected here again: in an Allow or a Pass, the rejected piece matches nothing; a Drop or
Reject then matches everything that the rule could match (law 7).
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from msgspec.structs import replace

from sluice.contracts.antrea import AntreaPeer, AntreaRule, PeerNamespaces, PeerService, rule_name
from sluice.contracts.ids import GroupId
from sluice.contracts.l7 import L7Match
from sluice.contracts.programs import (
    Action,
    BlockPeer,
    Direction,
    FqdnPeer,
    GroupPeer,
    Peer,
    Rule,
    ServicePeer,
    ServiceRef,
    Traffic,
)
from sluice.grouping.selectors import GroupSelector
from sluice.policy import fqdn
from sluice.policy.translate.blocks import block
from sluice.policy.translate.cluster import Recorder
from sluice.policy.translate.matching import ACTIONS, of_l7, of_port, of_protocol
from sluice.policy.translate.named import meaning
from sluice.policy.translate.selecting import Group, Selection, nodes_of_any, pods_of_any, written
from sluice.policy.translate.translation import Refused

P = TypeVar("P")
R = TypeVar("R")

_WIDENED = (Action.DROP, Action.REJECT)


class Spread(NamedTuple):
    """A peer that is relative to the Namespace of the Pod that the rule applies to."""

    keys: tuple[str, ...]
    """Labels whose values must be equal in both Namespaces; empty: the Pod's own Namespace."""

    pods: Selection
    """In a Namespace still to be determined."""


class Piece(NamedTuple):
    """A rule, with fixed and relative peers separated."""

    rule: Rule
    """With only the peers that are the same for every Pod."""

    stands: bool
    """Whether it has such peers, or matches any peer."""

    spreads: tuple[Spread, ...]

    def for_services(self, services: tuple[ServiceRef, ...]) -> Rule:
        """The rule for traffic to NodePorts of these Services: from IP blocks, or from anyone."""
        peers = self.rule.peers
        if peers is not None and (self.spreads or not all(isinstance(peer, BlockPeer) for peer in peers)):
            widened = self.rule.action in _WIDENED
            peers = None if widened else tuple(peer for peer in peers if isinstance(peer, BlockPeer))
        return replace(self.rule, services=services, peers=peers)


class Pieces:
    """Turns one policy's rules into pieces, and collects the groups that they name and the problems found."""

    def __init__(self, where: str, namespace: str, cluster: Recorder) -> None:
        self._where, self._namespace, self._cluster = where, namespace, cluster
        self.groups: dict[GroupId, GroupSelector] = {}
        self.problems: list[str] = []

    def make(self, direction: Direction, index: int, rule: AntreaRule, path: str) -> Piece:
        action = ACTIONS[rule.action]
        peers = self._peers(direction, rule, path, action)
        plain = None if peers is None else tuple(peer for peer in peers if not isinstance(peer, Spread))
        spreads = tuple(peer for peer in peers or () if isinstance(peer, Spread))
        ports = self._each(rule.ports, of_port, f"{path}.ports", action)
        protocols = self._each(rule.protocols, of_protocol, f"{path}.protocols", action)
        traffic: tuple[Traffic, ...] | None = (*(ports or ()), *(protocols or ()))
        if (ports is None or not rule.ports) and (protocols is None or not rule.protocols):
            traffic = None
        flat = Rule(
            index=index,
            direction=direction,
            action=action,
            peers=plain,
            traffic=traffic,
            l7=self._l7(rule, path),
            name=rule_name(direction.value, rule),
            logs=rule.enable_logging,
            log_label=rule.log_label,
        )
        return Piece(flat, plain != () or not spreads, spreads)

    def _peers(
        self, direction: Direction, rule: AntreaRule, path: str, action: Action
    ) -> tuple[Peer | Spread, ...] | None:
        field, given = ("from", rule.from_) if direction is Direction.INGRESS else ("to", rule.to)
        if not rule.to_services:
            found = self._each(given, self._peer, f"{path}.{field}", action)
            return None if found is None else tuple(dict.fromkeys(peer for peers in found for peer in peers))
        if direction is Direction.INGRESS or rule.to or rule.ports or rule.protocols:
            reason = (
                "toServices already defines the addresses and ports, and only an egress rule can have it; remove "
                "the other fields, or toServices"
            )
            self.problems.append(f"{self._where} {path}.toServices: {reason}")
            return None if action in _WIDENED else ()
        return self._each(rule.to_services, self._service, f"{path}.toServices", action)

    def _each(self, pieces: tuple[P, ...], make: Callable[[P], R], path: str, action: Action) -> tuple[R, ...] | None:
        """The meanings of the pieces, without duplicates; None if they match everything, as an empty list does.

        A refused piece is a problem. In an Allow or a Pass it matches nothing; a Drop or Reject then matches
        everything.
        """
        if not pieces:
            return None
        made: list[R] = []
        refused = False
        for place, piece in enumerate(pieces):
            try:
                made.append(make(piece))
            except Refused as reason:
                refused = True
                self.problems.append(f"{self._where} {path}[{place}]: {reason}")
        return None if refused and action in _WIDENED else tuple(dict.fromkeys(made))

    def _peer(self, peer: AntreaPeer) -> tuple[Peer | Spread, ...]:
        by_pods = peer.pod_selector is not None or peer.namespace_selector is not None or peer.namespaces is not None
        others = (peer.ip_block, peer.group or None, peer.service_account, peer.node_selector, peer.fqdn or None)
        if by_pods + sum(other is not None for other in others) > 1:
            raise Refused("selects in several ways at once; write a peer for each")
        if peer.ip_block is not None:
            return (block(peer.ip_block.cidr, peer.ip_block.except_),)
        if peer.group:
            return self._of_group(peer.group)
        if peer.service_account is not None:
            account = peer.service_account
            return (self._named(pods_of_any((Selection.of_account(account.name, account.namespace),))),)
        if peer.node_selector is not None:
            return (self._named(nodes_of_any((written(peer.node_selector),))),)
        if peer.fqdn:
            if not fqdn.ALLOWED.fullmatch(peer.fqdn):
                raise Refused(f"{peer.fqdn!r}: not a domain name; use letters, digits, -, . and *")
            return (FqdnPeer(pattern=fqdn.normal(peer.fqdn)),)
        if not by_pods:
            raise Refused(
                "an empty peer could mean nothing or everything; give it a selector or an ipBlock, or leave out the "
                "list to mean everything"
            )
        return (self._of_pods(peer),)

    def _of_pods(self, peer: AntreaPeer) -> Peer | Spread:
        if peer.namespaces is not None:
            given = peer.namespaces
            if peer.namespace_selector is not None or self._namespace:
                raise Refused(
                    "namespaces is only for a ClusterNetworkPolicy, and cannot be combined with namespaceSelector; "
                    "remove it"
                )
            if (given.match is None) == (not given.same_labels):
                raise Refused("namespaces must have exactly one of match: Self and sameLabels; correct it")
            return Spread(spread_keys(given), Selection.of(None, peer.pod_selector))
        own = "" if peer.namespace_selector is not None else self._namespace
        return self._named(pods_of_any((Selection.of(peer.namespace_selector, peer.pod_selector, own),)))

    def _of_group(self, name: str) -> tuple[Peer, ...]:
        means = meaning((self._namespace, name), self._cluster)
        found: list[Peer] = list(means.blocks)
        if means.nodes:
            found.insert(0, self._named(nodes_of_any(means.nodes)))
        if means.pods:
            found.insert(0, self._named(pods_of_any(means.pods)))
        return tuple(found)

    def _named(self, group: Group) -> GroupPeer:
        self.groups[group[0]] = group[1]
        return GroupPeer(group=group[0])

    def _service(self, service: PeerService) -> Peer:
        return ServicePeer(service=ServiceRef(namespace=service.namespace or self._namespace, name=service.name))

    def _l7(self, rule: AntreaRule, path: str) -> tuple[L7Match, ...] | None:
        """The layer 7 traffic that the rule allows; refused entries allow nothing."""
        if rule.action != "Allow":
            if rule.l7_protocols:
                reason = (
                    "only an Allow rule looks at requests, so l7Protocols has no effect here; write action: Allow, "
                    "or remove l7Protocols"
                )
                self.problems.append(f"{self._where} {path}.l7Protocols: {reason}")
            return None
        return self._each(rule.l7_protocols, of_l7, f"{path}.l7Protocols", Action.ALLOW)


def spread_keys(given: PeerNamespaces) -> tuple[str, ...]:
    return tuple(sorted(set(given.same_labels)))
