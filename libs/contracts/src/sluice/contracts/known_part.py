"""Reads objects as they travel, also a NetworkPolicy or MultiNetworkPolicy that this version does not wholly know.

A newer API server may serve fields and values that did not exist when this version was written. A rule read without
them could allow more than it says, and a policy that is not read at all leaves its Pods unprotected. So, as Kubernetes
asks of whoever enforces its policies, what is not wholly known allows nothing, and the Pods are isolated all the same:

- a peer or port that is not wholly known matches nothing, nor does a rule that has an unknown field;
- a policy whose podSelector is not wholly known isolates the Pods that the known part selects, and allows nothing;
- a policy whose spec has an unknown field isolates its Pods in both directions, and allows nothing;
- an unknown policyType isolates in both directions.

What is not known is kept in `PartlyKnownSpec.unknown`, for the status of the policy.
"""

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from sluice.contracts import codec, jsonpath
from sluice.contracts.codec import Undecodable
from sluice.contracts.kinds import SELF_CONTAINED, Kind
from sluice.contracts.objects import (
    TYPES,
    AnyObject,
    K8sNetworkPolicy,
    K8sNetworkPolicySpec,
    LabelRequirement,
    LabelSelector,
    MultiNetworkPolicy,
    NetworkPolicyEgressRule,
    NetworkPolicyIngressRule,
    NetworkPolicyPeer,
    NetworkPolicyPort,
    PartlyKnownSpec,
    PolicyType,
    UnknownPeer,
    UnknownPort,
)

T = TypeVar("T")

Json = dict[str, Any]  # Any: JSON

_SPEC = "$.spec"
_BOTH: tuple[PolicyType, ...] = ("Ingress", "Egress")
_NOBODY: NetworkPolicyPeer = UnknownPeer()
_NO_PORT: NetworkPolicyPort = UnknownPort()


def decode(kind: Kind, body: bytes) -> AnyObject:
    """The object of a message.

    Raises:
        Undecodable: the bytes are not an object of the kind, and not a policy that is known in part.
    """
    wanted = TYPES[kind]
    try:
        return codec.decode(body, wanted)
    except Undecodable:
        if kind not in SELF_CONTAINED:
            raise
        whole: Json = codec.decode(body, dict)
        try:
            return convert(kind, whole)
        except msgspec.ValidationError as error:
            raise Undecodable(f"{wanted.__name__}: {error}") from error


def convert(kind: Kind, whole: Json) -> AnyObject:
    """The object of plain JSON.

    Raises:
        msgspec.ValidationError: it is not an object of the kind, and not a policy that is known in part.
    """
    wanted = TYPES[kind]
    try:
        made: AnyObject = msgspec.convert(whole, wanted)
    except msgspec.ValidationError:
        spec = whole.get("spec")
        if kind not in SELF_CONTAINED or not isinstance(spec, dict):
            raise
        made = msgspec.convert({**whole, "spec": {}}, wanted)
        assert isinstance(made, K8sNetworkPolicy | MultiNetworkPolicy)
        return replace(made, spec=_Reader().spec(spec))
    return made


class _Reader:
    """Collects what is not known of one policy."""

    def __init__(self) -> None:
        self._unknown: list[str] = []

    def spec(self, given: Json) -> PartlyKnownSpec:
        fields_known = self._has_known_fields(given, K8sNetworkPolicySpec, _SPEC)
        selector, selector_known = self._selector(given.get("podSelector"))
        types = self._types(given) if fields_known else _BOTH
        ingress: list[NetworkPolicyIngressRule] = []
        egress: list[NetworkPolicyEgressRule] = []
        if fields_known and selector_known:
            for path, rule in self._rules(given.get("ingress"), f"{_SPEC}.ingress"):
                peers, ports = self._rule(rule, NetworkPolicyIngressRule, "from", path)
                ingress.append(NetworkPolicyIngressRule(from_=peers, ports=ports))
            for path, rule in self._rules(given.get("egress"), f"{_SPEC}.egress"):
                peers, ports = self._rule(rule, NetworkPolicyEgressRule, "to", path)
                egress.append(NetworkPolicyEgressRule(to=peers, ports=ports))
        return PartlyKnownSpec(
            pod_selector=selector,
            policy_types=types,
            ingress=tuple(ingress),
            egress=tuple(egress),
            unknown=tuple(self._unknown),
        )

    def _types(self, given: Json) -> tuple[PolicyType, ...]:
        written = given.get("policyTypes")
        if not written:
            return _BOTH if given.get("egress") else ("Ingress",)
        types = self._read(written, tuple[PolicyType, ...], f"{_SPEC}.policyTypes")
        return _BOTH if types is None else types

    def _selector(self, given: Any) -> tuple[LabelSelector, bool]:  # Any: JSON
        """What is known of the selector, which selects at least the same Pods; and whether that is all of it."""
        path = f"{_SPEC}.podSelector"
        whole = LabelSelector() if given is None else self._read(given, LabelSelector, path)
        if whole is not None:
            return whole, True
        fields = given if isinstance(given, dict) else {}
        labels, expressions = fields.get("matchLabels"), fields.get("matchExpressions")
        known = [_known(one, LabelRequirement) for one in expressions] if isinstance(expressions, list) else []
        return LabelSelector(
            match_labels=_known(labels, dict[str, str]) or {},
            match_expressions=tuple(one for one in known if one is not None),
        ), False

    def _rules(self, given: Any, path: str) -> Iterator[tuple[str, Any]]:  # Any: JSON
        rules = () if given is None else self._read(given, list[Any], path)
        for index, rule in enumerate(rules or ()):
            yield jsonpath.item(path, index), rule

    def _rule(
        self,
        given: Any,  # Any: JSON
        kind: type[NetworkPolicyIngressRule | NetworkPolicyEgressRule],
        peers_field: str,
        path: str,
    ) -> tuple[tuple[NetworkPolicyPeer, ...], tuple[NetworkPolicyPort, ...]]:
        fields = self._read(given, Json, path)
        if fields is None or not self._has_known_fields(fields, kind, path):
            return (_NOBODY,), ()
        peers = self._each(fields.get(peers_field), NetworkPolicyPeer, _NOBODY, f"{path}.{peers_field}")
        return peers, self._each(fields.get("ports"), NetworkPolicyPort, _NO_PORT, f"{path}.ports")

    def _each(self, given: Any, kind: type[T], instead: T, path: str) -> tuple[T, ...]:  # Any: JSON
        if given is None:
            return ()
        pieces = self._read(given, list[Any], path)
        if pieces is None:
            return (instead,)
        found = (self._read(piece, kind, jsonpath.item(path, at)) for at, piece in enumerate(pieces))
        return tuple(instead if piece is None else piece for piece in found)

    def _has_known_fields(self, given: Json, kind: type[msgspec.Struct], path: str) -> bool:
        known = {field.encode_name for field in msgspec.structs.fields(kind)}
        unknown = sorted(given.keys() - known)
        self._unknown += [f"{jsonpath.field(path, name)}: unknown field" for name in unknown]
        return not unknown

    def _read(self, given: Any, kind: Any, path: str) -> Any:  # Any: JSON; to the type checker a union is no type
        """The value; None, and noted, if it is not known."""
        try:
            return msgspec.convert(given, kind)
        except msgspec.ValidationError as error:
            reason, _, at = str(error).partition(" - at `$")
            self._unknown.append(f"{path}{at.removesuffix('`')}: {reason}")
            return None


def _known(given: Any, kind: Any) -> Any:  # Any: as above
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError:
        return None
