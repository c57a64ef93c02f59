"""Secondary networks: MultiNetworkPolicy, NetworkAttachmentDefinition, and the annotations of both and of Pods."""

from collections.abc import Callable, Iterator

from sluice.admission import network_policy
from sluice.admission.refusal import Caution, Refusal
from sluice.contracts import jsonpath, networks
from sluice.contracts.objects import MultiNetworkPolicy, NetworkAttachmentDefinition, Pod

_ANNOTATIONS = "$.metadata.annotations"


def of_policy(policy: MultiNetworkPolicy) -> Iterator[Refusal]:
    """Same as for a NetworkPolicy. A policy that names no network is admitted, but has no effect."""
    yield from network_policy.refusals(policy)
    text = policy.metadata.annotations.get(networks.POLICY_FOR, "")
    for reason in networks.policy_for(text, policy.metadata.namespace).wrong:
        yield Refusal(jsonpath.field(_ANNOTATIONS, networks.POLICY_FOR), reason)


def cautions(policy: MultiNetworkPolicy) -> Iterator[Caution]:
    """A policy that names no network is admitted, as in other implementations."""
    text = policy.metadata.annotations.get(networks.POLICY_FOR, "")
    if not networks.policy_for(text, policy.metadata.namespace).networks:
        here = jsonpath.field(_ANNOTATIONS, networks.POLICY_FOR)
        yield Caution(
            here,
            "names no network, so the policy would apply to nothing; write the NAME or NAMESPACE/NAME of a network",
        )


def of_definition(made: NetworkAttachmentDefinition) -> Iterator[Refusal]:
    try:
        networks.plugin(made.spec.config)
    except networks.BadAnnotation as bad:
        yield Refusal("$.spec.config", str(bad))


def of_pod(pod: Pod) -> Iterator[Caution]:
    """What cannot be read in a Pod's annotations: plugins write them, and policy works without.

    Not a refusal: it must not block updates of the rest of the Pod.
    """
    yield from _readable(pod, networks.NETWORKS, networks.requests)
    yield from _readable(pod, networks.STATUS, networks.reports)
    yield from _readable(pod, networks.STATUS_BEFORE, networks.reports)


def _readable(pod: Pod, annotation: str, read: Callable[[str, str], object]) -> Iterator[Caution]:
    try:
        read(pod.metadata.annotations.get(annotation, ""), pod.metadata.namespace)
    except networks.BadAnnotation as bad:
        yield Caution(jsonpath.field(_ANNOTATIONS, annotation), str(bad))
