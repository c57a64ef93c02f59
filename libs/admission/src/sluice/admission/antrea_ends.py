"""The two ends of a rule: what it applies to, and its peers. Each entry may select in one way only."""

from collections.abc import Iterator, Sequence
from typing import Literal

from sluice.admission import label_selector, names
from sluice.admission.network_policy import of_block
from sluice.admission.refusal import Caution, Refusal
from sluice.contracts import jsonpath
from sluice.contracts.antrea import AntreaPeer, AppliedTo, PeerNamespaces
from sluice.contracts.objects import LabelSelector, NamespacedName

Way = Literal["ingress", "egress"]

_CLUSTER_ONLY = "not possible in a NetworkPolicy, which is limited to its own Namespace; use a ClusterNetworkPolicy"


def of_applied_to(
    entries: Sequence[AppliedTo], path: str, *, namespaced: bool, of_rule: bool = False
) -> Iterator[Refusal]:
    for index, entry in enumerate(entries):
        yield from _of_entry(entry, jsonpath.item(path, index), namespaced=namespaced, of_rule=of_rule)


def _of_entry(entry: AppliedTo, path: str, *, namespaced: bool, of_rule: bool) -> Iterator[Refusal]:
    yield from _of_selectors(
        path,
        podSelector=entry.pod_selector,
        namespaceSelector=entry.namespace_selector,
        nodeSelector=entry.node_selector,
    )
    yield from _of_references(path, entry.group, serviceAccount=entry.service_account, service=entry.service)
    if namespaced:
        if entry.namespace_selector is not None:
            reason = "a NetworkPolicy applies to Pods of its own Namespace; remove it, or use ClusterNetworkPolicy"
            yield Refusal(f"{path}.namespaceSelector", reason)
        for name, given in (
            ("serviceAccount", entry.service_account),
            ("service", entry.service),
            ("nodeSelector", entry.node_selector),
        ):
            if given is not None:
                yield Refusal(f"{path}.{name}", _CLUSTER_ONLY)
    elif of_rule and entry.node_selector is not None:
        reason = "a single rule cannot apply to Nodes; write nodeSelector in the appliedTo of the spec"
        yield Refusal(f"{path}.nodeSelector", reason)
    ways = _ways(
        selectors=entry.pod_selector is not None or entry.namespace_selector is not None,
        group=bool(entry.group),
        serviceAccount=entry.service_account is not None,
        service=entry.service is not None,
        nodeSelector=entry.node_selector is not None,
    )
    yield from _one_way(
        ways, path, "selects nothing; give it a selector (podSelector: {} selects every Pod), or remove it"
    )


def of_peer(way: Way, peer: AntreaPeer, path: str, *, namespaced: bool) -> Iterator[Refusal]:
    yield from _of_selectors(
        path,
        podSelector=peer.pod_selector,
        namespaceSelector=peer.namespace_selector,
        nodeSelector=peer.node_selector,
    )
    if peer.namespaces is not None:
        yield from _of_namespaces(peer.namespaces, f"{path}.namespaces", namespaced=namespaced)
        if peer.namespace_selector is not None:
            reason = "a peer cannot have both namespaces and namespaceSelector; keep one of the two"
            yield Refusal(f"{path}.namespaces", reason)
    if peer.ip_block is not None:
        yield from of_block(peer.ip_block, f"{path}.ipBlock")
    yield from _of_references(path, peer.group, serviceAccount=peer.service_account)
    if namespaced and peer.service_account is not None:
        yield Refusal(f"{path}.serviceAccount", _CLUSTER_ONLY)
    if peer.fqdn:
        if way == "ingress":
            reason = (
                "domain names work only in egress rules, because Sluice learns their addresses from the DNS queries "
                "of the sender; write an ipBlock, or an egress rule"
            )
            yield Refusal(f"{path}.fqdn", reason)
        if bad := names.fqdn_pattern(peer.fqdn):
            yield Refusal(f"{path}.fqdn", bad)
    selectors = (peer.pod_selector, peer.namespace_selector, peer.namespaces)
    ways = _ways(
        selectors=any(one is not None for one in selectors),
        ipBlock=peer.ip_block is not None,
        group=bool(peer.group),
        serviceAccount=peer.service_account is not None,
        nodeSelector=peer.node_selector is not None,
        fqdn=bool(peer.fqdn),
    )
    yield from _one_way(ways, path, "a peer that selects nothing; give it a selector or an ipBlock, or remove it")


def of_name(text: str, path: str) -> Iterator[Refusal]:
    """A reference to an object. Capitals are accepted, though no object's name has any: that is a caution."""
    if names.dns_subdomain(text.lower()):
        yield Refusal(path, f'"{text}" is not a valid name; use a-z and 0-9, with - or . inside')


def of_doubtful_name(text: str, path: str) -> Iterator[Caution]:
    if text != text.lower():
        yield Caution(path, f'no object can be called "{text}", so this matches nothing; names are in lower case')


def _of_selectors(path: str, **selectors: LabelSelector | None) -> Iterator[Refusal]:
    for name, selector in selectors.items():
        if selector is not None:
            yield from label_selector.refusals(selector, f"{path}.{name}")


def _of_references(path: str, group: str, **others: NamespacedName | None) -> Iterator[Refusal]:
    if group:
        yield from of_name(group, f"{path}.group")
    for name, reference in others.items():
        if reference is not None:
            yield from of_name(reference.name, f"{path}.{name}.name")
            yield from of_name(reference.namespace, f"{path}.{name}.namespace")


def _of_namespaces(given: PeerNamespaces, path: str, *, namespaced: bool) -> Iterator[Refusal]:
    if namespaced:
        reason = (
            "not possible in a NetworkPolicy, which is limited to its own Namespace; use podSelector, or a "
            "ClusterNetworkPolicy"
        )
        yield Refusal(path, reason)
    if (given.match is None) == (not given.same_labels):
        yield Refusal(path, "must have exactly one of match: Self and sameLabels; correct it")
    for index, key in enumerate(given.same_labels):
        if bad := names.label_key(key):
            yield Refusal(jsonpath.item(f"{path}.sameLabels", index), bad)


def _ways(**given: bool) -> list[str]:
    return [name for name, is_given in given.items() if is_given]


def _one_way(ways: Sequence[str], path: str, nobody: str) -> Iterator[Refusal]:
    if not ways:
        yield Refusal(path, nobody)
    elif len(ways) > 1:
        reason = f"{' and '.join(ways)} in one entry, which may have only one of them; write an entry for each"
        yield Refusal(path, reason)
