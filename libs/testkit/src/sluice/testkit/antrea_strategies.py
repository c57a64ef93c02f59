"""Hypothesis strategies for Antrea-native policies and tiers, in the small worlds of `strategies`."""

from hypothesis import strategies as st

from sluice.contracts.antrea import (
    AntreaAction,
    AntreaPeer,
    AntreaPolicySpec,
    AntreaPort,
    AntreaProtocol,
    AntreaRule,
    AppliedTo,
    IcmpProtocol,
    IgmpProtocol,
    L7Protocol,
    PeerNamespaces,
    PeerService,
)
from sluice.contracts.antrea_groups import GroupSpec
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import (
    AntreaGroup,
    AntreaNetworkPolicy,
    ClusterGroup,
    ClusterNetworkPolicy,
    NamespacedName,
)
from sluice.grouping.events import ObjectEvent, ObjectKey
from sluice.testkit import builders
from sluice.testkit.strategies import NAMESPACES, PROTOCOLS, blocks, label_selectors, stories

TIERS = ("first", "second")
"""Custom tiers that are created and deleted."""

NAMES = ("p-1", "p-2", "p-3")
GROUPS = ("g-1", "g-2", "g-3")
"""Groups that are created and deleted, and refer to each other, sometimes nested too deeply."""

tiers = st.builds(builders.tier, st.sampled_from(TIERS), st.sampled_from((5, 10, 110)))

_tier_names = st.sampled_from(("", "", "emergency", "SecurityOps", "baseline", *TIERS))
_priorities = st.sampled_from((1.0, 1.5, 5.0))
ACTIONS: tuple[AntreaAction, ...] = ("Allow", "Drop", "Reject", "Pass", "Deny")
_actions = st.sampled_from(ACTIONS)

_relative = st.sampled_from(
    (
        PeerNamespaces(match="Self"),
        PeerNamespaces(same_labels=("app",)),
        PeerNamespaces(same_labels=("tier", "app")),
    )
)

_names = st.builds(NamespacedName, namespace=st.sampled_from(NAMESPACES), name=st.just("svc"))
_accounts = st.builds(NamespacedName, namespace=st.sampled_from(NAMESPACES), name=st.sampled_from(("default", "robot")))
_narrow_peers = st.one_of(
    st.sampled_from(GROUPS).map(lambda name: AntreaPeer(group=name)),
    label_selectors.map(lambda nodes: AntreaPeer(node_selector=nodes)),
    blocks.map(lambda block: AntreaPeer(ip_block=block)),
    label_selectors.map(lambda pods: AntreaPeer(pod_selector=pods)),
    st.builds(AntreaPeer, pod_selector=st.one_of(st.none(), label_selectors), namespace_selector=label_selectors),
)
_peers = st.one_of(
    _narrow_peers,
    _accounts.map(lambda account: AntreaPeer(service_account=account)),
    st.builds(AntreaPeer, pod_selector=st.one_of(st.none(), label_selectors), namespaces=_relative),
)

_ports = st.one_of(
    st.builds(AntreaPort, protocol=st.sampled_from(PROTOCOLS)),
    st.builds(AntreaPort, protocol=st.sampled_from(PROTOCOLS), port=st.sampled_from((53, 80, 81, "web", "dns"))),
    st.builds(AntreaPort, port=st.sampled_from((53, 80)), end_port=st.sampled_from((80, 8080))),
    st.builds(AntreaPort, port=st.just(80), source_port=st.just(1024), source_end_port=st.sampled_from((None, 2047))),
)
_protocols = st.sampled_from(
    (
        AntreaProtocol(icmp=IcmpProtocol()),
        AntreaProtocol(icmp=IcmpProtocol(icmp_type=8)),
        AntreaProtocol(icmp=IcmpProtocol(icmp_type=8, icmp_code=0)),
        AntreaProtocol(igmp=IgmpProtocol(igmp_type=0x11)),
    )
)

_by_group = st.sampled_from(GROUPS).map(lambda name: AppliedTo(group=name))
_wide = st.one_of(
    _by_group,
    _accounts.map(lambda account: AppliedTo(service_account=account)),
    label_selectors.map(lambda nodes: AppliedTo(node_selector=nodes)),
    _names.map(lambda service: AppliedTo(service=service)),
    label_selectors.map(lambda pods: AppliedTo(pod_selector=pods)),
    st.builds(AppliedTo, pod_selector=st.one_of(st.none(), label_selectors), namespace_selector=label_selectors),
)
_narrow = st.one_of(_by_group, label_selectors.map(lambda pods: AppliedTo(pod_selector=pods)))

_l7 = st.lists(st.just(L7Protocol()), max_size=1).map(tuple)  # an empty one: admission refuses it
_services = st.lists(st.just(PeerService(name="svc", namespace="x")), max_size=1).map(tuple)

_group_specs = st.one_of(
    st.builds(GroupSpec, pod_selector=label_selectors),
    st.builds(GroupSpec, pod_selector=st.one_of(st.none(), label_selectors), namespace_selector=label_selectors),
    st.builds(GroupSpec, node_selector=label_selectors),
    st.builds(GroupSpec, ip_blocks=st.lists(blocks, max_size=2).map(tuple)),
    st.builds(GroupSpec, ip_block=blocks),
    st.builds(GroupSpec, service_reference=_names),
    st.builds(GroupSpec, child_groups=st.lists(st.sampled_from(GROUPS), max_size=2).map(tuple)),
)


def _specs(
    entries: st.SearchStrategy[AppliedTo], peers: st.SearchStrategy[AntreaPeer]
) -> st.SearchStrategy[AntreaPolicySpec]:
    """Policies with appliedTo in the spec, or in each rule."""

    @st.composite
    def specs(draw: st.DrawFn) -> AntreaPolicySpec:
        by_rule = draw(st.booleans())
        lists = st.lists(entries, min_size=1, max_size=2).map(tuple)

        def rule(*, egress: bool) -> AntreaRule:
            others = tuple(draw(st.lists(peers, max_size=2)))
            return AntreaRule(
                action=draw(_actions),
                name=draw(st.sampled_from(("", "named"))),
                applied_to=draw(lists) if by_rule else (),
                from_=() if egress else others,
                to=others if egress else (),
                ports=tuple(draw(st.lists(_ports, max_size=2))),
                protocols=tuple(draw(st.lists(_protocols, max_size=1))),
                to_services=draw(_services) if egress and not others else (),
                l7_protocols=draw(_l7),
                enable_logging=draw(st.booleans()),
            )

        return AntreaPolicySpec(
            priority=draw(_priorities),
            tier=draw(_tier_names),
            applied_to=() if by_rule else draw(lists),
            ingress=tuple(rule(egress=False) for _ in range(draw(st.integers(0, 2)))),
            egress=tuple(rule(egress=True) for _ in range(draw(st.integers(0, 2)))),
        )

    return specs()


def _acnp(name: str, spec: AntreaPolicySpec) -> ClusterNetworkPolicy:
    bare = builders.acnp(name)
    return ClusterNetworkPolicy(api_version=bare.api_version, kind=bare.kind, metadata=bare.metadata, spec=spec)


def _annp(of: str, name: str, spec: AntreaPolicySpec) -> AntreaNetworkPolicy:
    bare = builders.annp(f"{of}/{name}")
    return AntreaNetworkPolicy(api_version=bare.api_version, kind=bare.kind, metadata=bare.metadata, spec=spec)


acnps = st.builds(_acnp, st.sampled_from(NAMES), _specs(_wide, _peers))
annps = st.builds(_annp, st.sampled_from(NAMESPACES), st.sampled_from(NAMES), _specs(_narrow, _narrow_peers))


def _cluster_group(name: str, spec: GroupSpec) -> ClusterGroup:
    bare = builders.cluster_group(name)
    return ClusterGroup(api_version=bare.api_version, kind=bare.kind, metadata=bare.metadata, spec=spec)


def _group(of: str, name: str, spec: GroupSpec) -> AntreaGroup:
    bare = builders.group(f"{of}/{name}")
    return AntreaGroup(api_version=bare.api_version, kind=bare.kind, metadata=bare.metadata, spec=spec)


cluster_groups = st.builds(_cluster_group, st.sampled_from(GROUPS), _group_specs)
groups = st.builds(_group, st.sampled_from(NAMESPACES), st.sampled_from(GROUPS), _group_specs)
services = st.builds(
    lambda of, labels: builders.service(f"{of}/svc", {"selector": labels}),
    st.sampled_from(NAMESPACES),
    st.sampled_from(({}, {"app": "v1"}, {"tier": "v2"})),
)

objects = st.one_of(tiers, acnps, acnps, annps, cluster_groups, groups, services)

keys = st.one_of(
    st.builds(ObjectKey, st.just(Kind.TIER), st.just(""), st.sampled_from(TIERS)),
    st.builds(ObjectKey, st.just(Kind.CLUSTER_GROUP), st.just(""), st.sampled_from(GROUPS)),
    st.builds(ObjectKey, st.just(Kind.GROUP), st.sampled_from(NAMESPACES), st.sampled_from(GROUPS)),
    st.builds(ObjectKey, st.just(Kind.SERVICE), st.sampled_from(NAMESPACES), st.just("svc")),
    st.builds(ObjectKey, st.just(Kind.CLUSTER_NETWORK_POLICY), st.just(""), st.sampled_from(NAMES)),
    st.builds(ObjectKey, st.just(Kind.ANTREA_NETWORK_POLICY), st.sampled_from(NAMESPACES), st.sampled_from(NAMES)),
)


def antrea_stories() -> st.SearchStrategy[list[ObjectEvent]]:
    """Histories of a small cluster with all kinds of policies."""
    return stories(more=objects, more_keys=keys)
