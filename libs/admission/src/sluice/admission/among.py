"""Checks an object against the other objects: tiers and groups that are missing, taken or in use.

Pure: shared by the webhook (existing and new objects), the command line, and sets of manifests. What cannot be
prevented here, since two objects may arrive at once, is defined in `sluice.policy` and reported in the status.
"""

from collections.abc import Collection, Iterable, Iterator

from sluice.admission import names
from sluice.admission.admit import admit
from sluice.admission.antrea_policy import applied_lists, rules
from sluice.admission.context import Known, Others, key_of
from sluice.admission.refusal import Caution, Refusal
from sluice.admission.tier import MAX_TIERS, taken_priority, too_many_tiers
from sluice.contracts import jsonpath, networks
from sluice.contracts.antrea import STATIC_TIERS, tier_name
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.objects import AntreaNetworkPolicy, AntreaPolicy, AnyGroup, AnyObject, MultiNetworkPolicy, Tier
from sluice.contracts.services import HEADLESS
from sluice.contracts.subjects import ObjectSubject


def needs(made: AnyObject) -> str | None:
    """The tier that the object needs in order to have any effect; None for a static one, which always exists."""
    if not isinstance(made, AntreaPolicy):
        return None
    name = tier_name(made.spec.tier)
    return None if name in STATIC_TIERS else name


def missing_tier(name: str) -> Refusal:
    """The refusal of a policy whose tier does not exist."""
    return Refusal(
        "$.spec.tier",
        f"there is no tier {name}, so the policy has no place in the order; create the tier, or name another",
    )


def misses(made: AnyObject, others: Others) -> str | None:
    """The tier that the object needs, if it does not exist."""
    tier = needs(made)
    return tier if tier is not None and others.priority_of(tier) is None else None


def admit_among(made: AnyObject, others: Others, tiers: Collection[str] = ()) -> tuple[Refusal, ...]:
    """What is wrong with the object if it is created, or replaces the one with its name; `admit` checks the rest.

    Args:
        tiers: names of further tiers known to exist.
    """
    if isinstance(made, Tier):
        return tuple(_of_tier(made, others))
    if isinstance(made, AnyGroup):
        return tuple(_of_group(made, others))
    if isinstance(made, AntreaPolicy):
        missing = misses(made, others)
        wrong = (missing_tier(missing),) if missing is not None and missing not in tiers else ()
        return (*wrong, *_of_services(made, others))
    return ()


def cautions_among(made: AnyObject, others: Others) -> tuple[Caution, ...]:
    """What the author of an admitted object should know about other objects."""
    if isinstance(made, AnyGroup):
        return tuple(_doubts_of_group(made, others))
    if isinstance(made, AntreaPolicy):
        return tuple(_doubts_of_policy(made, others))
    if isinstance(made, MultiNetworkPolicy):
        return tuple(_doubts_of_networks(made, others))
    return ()


def admit_removal(key: ObjectSubject, others: Others) -> str | None:
    """Why the object cannot be deleted, or None."""
    match key.kind:
        case Kind.TIER if key.name in STATIC_TIERS:
            return f"the tier {key.name} is reserved and cannot be deleted"
        case Kind.TIER if users := others.users_of(key.name):
            return (
                f"the tier {key.name} is used by {users} {'policy' if users == 1 else 'policies'}; first delete them, "
                "or move them to another tier"
            )
        case Kind.CLUSTER_GROUP | Kind.GROUP if parents := others.parents_of(key.namespace, key.name):
            kind = RESOURCES[key.kind].kind
            return f"the {kind} {key.name} is a child of {', '.join(parents)}; take it out of childGroups there first"
        case _:
            return None


def admit_all(objects: Iterable[AnyObject], others: Known | None = None) -> list[tuple[Refusal, ...]]:
    """Everything wrong with each of a set of objects, by itself and among the others; their order hardly matters.

    Of two tiers with the same priority the first is admitted; of groups that nest too deep, none is. For policies,
    refused objects do not exist.

    Args:
        others: what exists besides these; admitted objects are added to it.
    """
    given, known = list(objects), Known() if others is None else others
    wrong = [admit(made) for made in given]
    for index, made in enumerate(given):
        if isinstance(made, Tier) and not wrong[index]:
            wrong[index] = admit_among(made, known)
        if not wrong[index] and not isinstance(made, AntreaPolicy):
            known.put(made)
    for index, made in enumerate(given):
        if isinstance(made, AnyGroup) and not wrong[index]:
            wrong[index] = admit_among(made, known)
    for index, made in enumerate(given):
        if isinstance(made, AnyGroup) and wrong[index]:
            known.remove(key_of(made))
    for index, made in enumerate(given):
        if isinstance(made, AntreaPolicy):
            wrong[index] += admit_among(made, known)
            if not wrong[index]:
                known.put(made)
    return wrong


def asks_for(made: AnyObject) -> frozenset[ObjectSubject]:
    """The objects on which admission of this one depends: when one of them changes, the answer may change."""
    if isinstance(made, AnyGroup):
        kind = key_of(made).kind
        return frozenset(ObjectSubject(kind, made.metadata.namespace, child) for child in made.spec.child_groups)
    if not isinstance(made, AntreaPolicy):
        return frozenset()
    own = made.metadata.namespace
    named = [(service.namespace or own, service.name) for _, _, rule in rules(made) for service in rule.to_services]
    for _, entries in applied_lists(made):
        named += [(entry.service.namespace, entry.service.name) for entry in entries if entry.service is not None]
    return frozenset(ObjectSubject(Kind.SERVICE, *name) for name in named)


def _of_tier(tier: Tier, others: Others) -> Iterator[Refusal]:
    name, priority = tier.metadata.name, tier.spec.priority
    if name in STATIC_TIERS:
        return
    before = others.priority_of(name)
    if before is not None and before != priority:
        reason = f"the tier has priority {before}, which cannot be changed; create another tier"
        yield Refusal("$.spec.priority", reason)
    holder = others.tier_at(priority)
    if holder is not None and holder != name:
        yield taken_priority(priority, holder)
    elif before is None and len(others.priorities()) >= MAX_TIERS:
        yield too_many_tiers()


def _of_group(made: AnyGroup, others: Others) -> Iterator[Refusal]:
    """Groups nest one level: a child has no children, so there are no cycles either."""
    namespace, name = made.key
    children = made.spec.child_groups
    parents = tuple(parent for parent in others.parents_of(namespace, name) if parent != name)
    if children and parents:
        reason = (
            f"the group is itself a child of {', '.join(parents)}, but groups nest only one level; list its "
            "childGroups there instead"
        )
        yield Refusal("$.spec.childGroups", reason)
    for index, child in enumerate(children):
        known = others.group(namespace, child)
        if child != name and known is not None and known.spec.child_groups:
            reason = f'"{child}" has childGroups itself, but groups nest only one level; list its children here instead'
            yield Refusal(jsonpath.item("$.spec.childGroups", index), reason)


def _of_services(policy: AntreaPolicy, others: Others) -> Iterator[Refusal]:
    """What is wrong with the Services that the policy names, as far as they are known."""
    for path, entries in applied_lists(policy):
        for index, entry in enumerate(entries):
            known = others.service(entry.service.namespace, entry.service.name) if entry.service else None
            if known is not None and known.spec.type not in ("NodePort", "LoadBalancer"):
                reason = (
                    f"a Service of type {known.spec.type} has no NodePort; name one of type NodePort or LoadBalancer"
                )
                yield Refusal(f"{jsonpath.item(path, index)}.service", reason)
    own = policy.metadata.namespace
    for _, path, rule in rules(policy):
        for index, service in enumerate(rule.to_services):
            known = others.service(service.namespace or own, service.name)
            if known is not None and known.spec.cluster_ip == HEADLESS:
                reason = "a headless Service has no address of its own; use a group with serviceReference in `to`"
                yield Refusal(jsonpath.item(f"{path}.toServices", index), reason)


def _doubts_of_group(made: AnyGroup, others: Others) -> Iterator[Caution]:
    namespace, _ = made.key
    for index, child in enumerate(made.spec.child_groups):
        if others.group(namespace, child) is None:
            reason = f"there is no group {child} yet; it counts as empty until you create it"
            yield Caution(jsonpath.item("$.spec.childGroups", index), reason)
    reference = made.spec.service_reference
    if reference is not None:
        yield from _doubts_of_service(
            reference.namespace, reference.name, others, "$.spec.serviceReference", selects=True
        )


def _doubts_of_networks(policy: MultiNetworkPolicy, others: Others) -> Iterator[Caution]:
    text = policy.metadata.annotations.get(networks.POLICY_FOR, "")
    for network in networks.policy_for(text, policy.metadata.namespace).networks:
        if not others.has_network(*network.split("/", 1)):
            path = jsonpath.field("$.metadata.annotations", networks.POLICY_FOR)
            yield Caution(
                path,
                f"there is no NetworkAttachmentDefinition {network} yet, so the policy does not apply on it; create it",
            )


def _doubts_of_policy(policy: AntreaPolicy, others: Others) -> Iterator[Caution]:
    own = policy.metadata.namespace
    for path, entries in applied_lists(policy):
        for index, entry in enumerate(entries):
            here = jsonpath.item(path, index)
            if entry.group:
                yield from _doubts_of_applied(policy, entry.group, others, f"{here}.group")
            if entry.service is not None:
                yield from _doubts_of_service(entry.service.namespace, entry.service.name, others, f"{here}.service")
    for way, path, rule in rules(policy):
        field, peers = ("from", rule.from_) if way == "ingress" else ("to", rule.to)
        for index, peer in enumerate(peers):
            if peer.group and others.group(own, peer.group) is None:
                yield _missing_group(peer.group, f"{jsonpath.item(f'{path}.{field}', index)}.group")
        for index, service in enumerate(rule.to_services):
            here = jsonpath.item(f"{path}.toServices", index)
            yield from _doubts_of_service(service.namespace or own, service.name, others, here)


def _doubts_of_applied(policy: AntreaPolicy, name: str, others: Others, path: str) -> Iterator[Caution]:
    """Cautions about a group that a policy applies to."""
    known = others.group(policy.metadata.namespace, name)
    if known is None:
        yield _missing_group(name, path)
    elif known.spec.ip_blocks or known.spec.ip_block is not None:
        reason = (
            f"the group {name} consists of addresses, and a policy cannot apply to addresses, so the group has "
            "no effect here; use a group with selectors"
        )
        yield Caution(path, reason)
    elif isinstance(policy, AntreaNetworkPolicy) and known.spec.namespace_selector is not None:
        reason = (
            f"the group {name} has a namespaceSelector: if it selects Pods of another Namespace, the whole "
            "policy has no effect; use a group without namespaceSelector"
        )
        yield Caution(path, reason)


def _missing_group(name: str, path: str) -> Caution:
    return Caution(path, f"there is no group {name} yet; it counts as empty until you create it")


def _doubts_of_service(
    namespace: str, name: str, others: Others, path: str, *, selects: bool = False
) -> Iterator[Caution]:
    known = others.service(namespace, name)
    if known is None:
        if names.dns_subdomain(name) is None:
            yield Caution(path, f"there is no Service {namespace}/{name} yet, so this matches nothing; create it")
    elif selects and not known.spec.selector:
        reason = f"the Service {namespace}/{name} has no selector, so the group is empty; use another way to select"
        yield Caution(path, reason)
