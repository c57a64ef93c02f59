"""ClusterNetworkPolicy and NetworkPolicy of crd.antrea.io/v1beta1, each by itself.

Source: Antrea, docs "Antrea Network Policy CRDs", the schemas of the kinds, and
pkg/controller/networkpolicy/validate.go. Stricter in what Antrea lets pass and then ignores: empty entries, fields of
the other direction, ports beyond 65535, a peer that is two things at once.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from sluice.admission import label_selector, names
from sluice.admission.network_policy import PORTS, of_block
from sluice.admission.refusal import Refusal
from sluice.contracts import jsonpath
from sluice.contracts.antrea import (
    BASELINE_TIER,
    AntreaPeer,
    AntreaPort,
    AntreaProtocol,
    AntreaRule,
    AppliedTo,
    PeerNamespaces,
    rule_name,
    tier_name,
)
from sluice.contracts.objects import AntreaNetworkPolicy, AntreaPolicy, IPBlock

LOWEST, HIGHEST = 1.0, 10_000.0
"""Of a policy's priority."""

ICMP_NUMBERS = range(256)
"""Types and codes. Source: RFC 792 and RFC 4443, one octet each."""

_Way = Literal["ingress", "egress"]


def refusals(policy: AntreaPolicy) -> Iterator[Refusal]:
    spec = policy.spec
    namespaced = isinstance(policy, AntreaNetworkPolicy)
    if not LOWEST <= spec.priority <= HIGHEST:
        yield Refusal("$.spec.priority", f"{spec.priority:g} is out of range; give one of 1 to 10000")
    if spec.tier and (bad := names.dns_subdomain(tier_name(spec.tier))):
        yield Refusal("$.spec.tier", bad)
    yield from _of_applied_to(spec.applied_to, "$.spec.appliedTo", namespaced=namespaced)
    yield from _of_places(policy)
    ways: tuple[tuple[_Way, Sequence[AntreaRule]], ...] = (("ingress", spec.ingress), ("egress", spec.egress))
    known: dict[str, str] = {}
    for way, rules in ways:
        for index, rule in enumerate(rules):
            here = jsonpath.item(f"$.spec.{way}", index)
            yield from _of_name(way, rule, here, known)
            if rule.action == "Pass" and tier_name(spec.tier) == BASELINE_TIER:
                reason = "Pass hands over to the baseline, and this is the baseline; use Allow, Drop or Reject"
                yield Refusal(f"{here}.action", reason)
            yield from _of_rule(way, rule, here, namespaced=namespaced)


def _of_places(policy: AntreaPolicy) -> Iterator[Refusal]:
    """Whom it applies to stands in the spec, or in every rule."""
    spec = policy.spec
    rules = [(f"$.spec.ingress[{index}]", rule) for index, rule in enumerate(spec.ingress)]
    rules += [(f"$.spec.egress[{index}]", rule) for index, rule in enumerate(spec.egress)]
    own = [path for path, rule in rules if rule.applied_to]
    if spec.applied_to:
        for path in own:
            reason = "the spec says already whom the policy applies to; keep appliedTo there, or in every rule"
            yield Refusal(f"{path}.appliedTo", reason)
    elif not own:
        reason = "missing, so the policy would apply to nobody; give it here, or in every rule"
        yield Refusal("$.spec.appliedTo", reason)
    else:
        for path, rule in rules:
            if not rule.applied_to:
                reason = "missing, and other rules have their own; give it in every rule, or in the spec alone"
                yield Refusal(f"{path}.appliedTo", reason)


def _of_name(way: _Way, rule: AntreaRule, path: str, known: dict[str, str]) -> Iterator[Refusal]:
    """Names are unique over both directions, those that are made of the content, too."""
    name = rule_name(way, rule)
    first = known.setdefault(name, path)
    if first is path:
        return
    if rule.name:
        yield Refusal(f"{path}.name", f'"{name}" is the name of {first}, too; a name tells one rule of a policy')
    else:
        yield Refusal(path, f"says the same as {first} and has no name of its own; remove one of them, or name it")


def _of_rule(way: _Way, rule: AntreaRule, path: str, *, namespaced: bool) -> Iterator[Refusal]:
    if bad := names.label_value(rule.log_label):
        yield Refusal(f"{path}.logLabel", bad)
    yield from _of_applied_to(rule.applied_to, f"{path}.appliedTo", namespaced=namespaced)
    peers, field, others, other = (
        (rule.from_, "from", rule.to, "to") if way == "ingress" else (rule.to, "to", rule.from_, "from")
    )
    if others:
        yield Refusal(f"{path}.{other}", f"an {way} rule has no {other}; write {field}, or move the rule")
    for index, peer in enumerate(peers):
        yield from _of_peer(peer, jsonpath.item(f"{path}.{field}", index), namespaced=namespaced)
    for index, port in enumerate(rule.ports):
        yield from _of_port(port, jsonpath.item(f"{path}.ports", index))
    for index, protocol in enumerate(rule.protocols):
        yield from _of_protocol(protocol, jsonpath.item(f"{path}.protocols", index))


def _of_applied_to(entries: Sequence[AppliedTo], path: str, *, namespaced: bool) -> Iterator[Refusal]:
    for index, entry in enumerate(entries):
        here = jsonpath.item(path, index)
        if entry.pod_selector is not None:
            yield from label_selector.refusals(entry.pod_selector, f"{here}.podSelector")
        if entry.namespace_selector is not None:
            yield from label_selector.refusals(entry.namespace_selector, f"{here}.namespaceSelector")
            if namespaced:
                reason = "a NetworkPolicy applies to Pods of its own Namespace; remove it, or use ClusterNetworkPolicy"
                yield Refusal(f"{here}.namespaceSelector", reason)
        elif entry == AppliedTo():
            yield Refusal(here, "names nobody; give it a selector (podSelector: {} is every Pod), or remove it")


def _of_peer(peer: AntreaPeer, path: str, *, namespaced: bool) -> Iterator[Refusal]:
    if peer.pod_selector is not None:
        yield from label_selector.refusals(peer.pod_selector, f"{path}.podSelector")
    if peer.namespace_selector is not None:
        yield from label_selector.refusals(peer.namespace_selector, f"{path}.namespaceSelector")
    if peer.namespaces is not None:
        yield from _of_namespaces(peer.namespaces, f"{path}.namespaces", namespaced=namespaced)
        if peer.namespace_selector is not None:
            reason = "namespaceSelector beside it says Namespaces, too; keep one of the two"
            yield Refusal(f"{path}.namespaces", reason)
    selects = any(one is not None for one in (peer.pod_selector, peer.namespace_selector, peer.namespaces))
    if peer.ip_block is not None:
        yield from _of_block(peer.ip_block, f"{path}.ipBlock")
        if selects:
            yield Refusal(path, "an ipBlock stands alone; write the selectors as another peer")
    elif peer == AntreaPeer():
        yield Refusal(path, "a peer that names nobody; give it a selector or an ipBlock, or remove it")


def _of_namespaces(given: PeerNamespaces, path: str, *, namespaced: bool) -> Iterator[Refusal]:
    if namespaced:
        reason = "a NetworkPolicy stands in one Namespace; use podSelector, or ClusterNetworkPolicy"
        yield Refusal(path, reason)
    if (given.match is None) == (not given.same_labels):
        yield Refusal(path, "says nothing or two things; give either match: Self or sameLabels with a key")
    for index, key in enumerate(given.same_labels):
        if bad := names.label_key(key):
            yield Refusal(jsonpath.item(f"{path}.sameLabels", index), bad)


def _of_block(block: IPBlock, path: str) -> Iterator[Refusal]:
    yield from of_block(block, path)


def _of_port(port: AntreaPort, path: str) -> Iterator[Refusal]:
    if isinstance(port.port, str):
        if bad := names.port_name(port.port):
            yield Refusal(f"{path}.port", bad)
        if port.end_port is not None:
            reason = "a range cannot begin with a name; give port a number, or remove endPort"
            yield Refusal(f"{path}.endPort", reason)
    else:
        yield from _of_range("port", port.port, "endPort", port.end_port, path)
    yield from _of_range("sourcePort", port.source_port, "sourceEndPort", port.source_end_port, path)


def _of_range(first_name: str, first: int | None, last_name: str, last: int | None, path: str) -> Iterator[Refusal]:
    for name, number in ((first_name, first), (last_name, last)):
        if number is not None and number not in PORTS:
            yield Refusal(f"{path}.{name}", f"{number} is not a port; give one of 1 to 65535")
    if first is None and last is not None:
        reason = f"missing, so {last_name} ends nothing; give the first port, or remove {last_name}"
        yield Refusal(f"{path}.{first_name}", reason)
    elif first is not None and last is not None and last in PORTS and last < first:
        reason = f"{last} is less than {first_name} {first}; write the lower one as {first_name}"
        yield Refusal(f"{path}.{last_name}", reason)


def _of_protocol(protocol: AntreaProtocol, path: str) -> Iterator[Refusal]:
    icmp = protocol.icmp
    if (icmp is None) == (protocol.igmp is None):
        yield Refusal(path, "names no protocol, or two; write icmp: {} for all of ICMP, or remove it")
    if icmp is None:
        return
    for name, number in (("icmpType", icmp.icmp_type), ("icmpCode", icmp.icmp_code)):
        if number is not None and number not in ICMP_NUMBERS:
            yield Refusal(f"{path}.icmp.{name}", f"{number} is out of range; give one of 0 to 255")
