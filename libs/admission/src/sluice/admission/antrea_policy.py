"""ClusterNetworkPolicy and NetworkPolicy of crd.antrea.io/v1beta1, each by itself; `among` checks the rest.

Source: Antrea, docs "Antrea Network Policy CRDs", the schemas of the kinds, and
pkg/controller/networkpolicy/validate.go. Stricter about what Antrea accepts and then ignores: empty entries, fields of
the other direction, ports beyond 65535, a peer that is two things at once, a nodeSelector in a single rule.
"""

from collections.abc import Iterator, Sequence

from sluice.admission import antrea_ends, antrea_rule, established, names
from sluice.admission.antrea_ends import Way
from sluice.admission.refusal import Caution, Refusal
from sluice.contracts import jsonpath
from sluice.contracts.antrea import BASELINE_TIER, AntreaRule, AppliedTo, rule_name, tier_name
from sluice.contracts.objects import AntreaNetworkPolicy, AntreaPolicy

LOWEST, HIGHEST = 1.0, 10_000.0
"""Limits of a policy's priority."""

MAX_NODE_LOG_LABEL = 12
"""Characters of a logLabel that fit into the kernel log. Source: Antrea, docs "Node NetworkPolicy" (a prefix of 29)."""


def refusals(policy: AntreaPolicy) -> Iterator[Refusal]:
    spec = policy.spec
    namespaced = isinstance(policy, AntreaNetworkPolicy)
    yield from established.refusals(policy.metadata)
    if not LOWEST <= spec.priority <= HIGHEST:
        yield Refusal("$.spec.priority", f"{spec.priority:g} is out of range; give one of 1 to 10000")
    if spec.tier and (bad := names.dns_subdomain(tier_name(spec.tier))):
        yield Refusal("$.spec.tier", bad)
    yield from antrea_ends.of_applied_to(spec.applied_to, "$.spec.appliedTo", namespaced=namespaced)
    yield from _of_places(policy)
    yield from _of_services(policy)
    known: dict[str, str] = {}
    for way, path, rule in rules(policy):
        yield from _of_name(way, rule, path, known)
        if rule.action == "Pass" and tier_name(spec.tier) == BASELINE_TIER:
            reason = (
                "Pass hands traffic over to the baseline tier, but this policy is in the baseline tier; use Allow, "
                "Drop or Reject"
            )
            yield Refusal(f"{path}.action", reason)
        yield from antrea_rule.refusals(way, rule, path, namespaced=namespaced)


def cautions(policy: AntreaPolicy) -> Iterator[Caution]:
    on_nodes = any(entry.node_selector is not None for entry in policy.spec.applied_to)
    for _, path, rule in rules(policy):
        if on_nodes and rule.enable_logging and len(rule.log_label) > MAX_NODE_LOG_LABEL:
            reason = f'a Node logs only the first {MAX_NODE_LOG_LABEL} characters of "{rule.log_label}"; shorten it'
            yield Caution(f"{path}.logLabel", reason)
        yield from antrea_rule.cautions(rule, path)
    if not isinstance(policy, AntreaNetworkPolicy):
        yield from _of_mixture(policy)


def rules(policy: AntreaPolicy) -> Iterator[tuple[Way, str, AntreaRule]]:
    """All rules, each with its direction and path."""
    ways: tuple[tuple[Way, Sequence[AntreaRule]], ...] = (
        ("ingress", policy.spec.ingress),
        ("egress", policy.spec.egress),
    )
    for way, given in ways:
        for index, rule in enumerate(given):
            yield way, jsonpath.item(f"$.spec.{way}", index), rule


def applied_lists(policy: AntreaPolicy) -> Iterator[tuple[str, Sequence[AppliedTo]]]:
    """The non-empty appliedTo lists of the spec and of every rule, each with its path."""
    if policy.spec.applied_to:
        yield "$.spec.appliedTo", policy.spec.applied_to
    for _, path, rule in rules(policy):
        if rule.applied_to:
            yield f"{path}.appliedTo", rule.applied_to


def _of_places(policy: AntreaPolicy) -> Iterator[Refusal]:
    """The field appliedTo is given either in the spec, or in every rule."""
    spec = policy.spec
    own = [path for _, path, rule in rules(policy) if rule.applied_to]
    if spec.applied_to:
        for path in own:
            reason = "spec.appliedTo is given as well; give appliedTo either in the spec, or in every rule"
            yield Refusal(f"{path}.appliedTo", reason)
    elif not own:
        reason = "missing, so the policy would apply to nothing; give it here, or in every rule"
        yield Refusal("$.spec.appliedTo", reason)
    else:
        for _, path, rule in rules(policy):
            if not rule.applied_to:
                reason = "missing, while other rules have their own; give it in every rule, or only in the spec"
                yield Refusal(f"{path}.appliedTo", reason)


def _of_services(policy: AntreaPolicy) -> Iterator[Refusal]:
    """Rules that apply to NodePort Services are for clients outside the cluster: ingress only, from IP blocks."""
    spec = policy.spec
    for path, entries in applied_lists(policy):
        of_services = [entry.service is not None for entry in entries]
        if any(of_services) and not all(of_services):
            reason = (
                "a Service together with other entries; a policy that applies to a Service can apply to nothing "
                "else; write two policies"
            )
            yield Refusal(path, reason)
    whole = any(entry.service is not None for entry in spec.applied_to)
    for way, path, rule in rules(policy):
        if not whole and not any(entry.service is not None for entry in rule.applied_to):
            continue
        if way == "egress":
            reason = "an egress rule cannot apply to a Service, which sends no packets; apply it to Pods, or remove it"
            yield Refusal(f"{path}.appliedTo" if rule.applied_to else path, reason)
            continue
        for index, peer in enumerate(rule.from_):
            if peer.ip_block is None:
                reason = "clients of a NodePort are known only by their addresses; write an ipBlock"
                yield Refusal(jsonpath.item(f"{path}.from", index), reason)


def _of_name(way: Way, rule: AntreaRule, path: str, known: dict[str, str]) -> Iterator[Refusal]:
    """Names are unique across both directions, including those generated from the content."""
    name = rule_name(way, rule)
    first = known.setdefault(name, path)
    if first is path:
        return
    if rule.name:
        yield Refusal(f"{path}.name", f'"{name}" is also the name of {first}; give each rule of a policy its own name')
    else:
        yield Refusal(
            path,
            f"has the same content as {first}, and neither has a name; remove one of the two rules, or give one a name",
        )


def _of_mixture(policy: AntreaPolicy) -> Iterator[Caution]:
    """Antrea's docs ask for a policy to use either ClusterGroups or selectors, but nothing enforces it."""
    by_group: list[str] = []
    by_selector: list[str] = []
    for path, entries in applied_lists(policy):
        for index, entry in enumerate(entries):
            (by_group if entry.group else by_selector).append(jsonpath.item(path, index))
    for way, path, rule in rules(policy):
        field, peers = ("from", rule.from_) if way == "ingress" else ("to", rule.to)
        for index, peer in enumerate(peers):
            if peer.group:
                by_group.append(jsonpath.item(f"{path}.{field}", index))
            elif peer.pod_selector is not None or peer.namespace_selector is not None:
                by_selector.append(jsonpath.item(f"{path}.{field}", index))
    if by_group and by_selector:
        reason = (
            f"a ClusterGroup in a policy that also has selectors, as {by_selector[0]} does: Antrea advises against "
            "mixing them; use one of the two"
        )
        yield Caution(f"{by_group[0]}.group", reason)
