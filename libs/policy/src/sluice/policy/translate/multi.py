"""Translates k8s.cni.cncf.io MultiNetworkPolicy into the flat model: a NetworkPolicy for interfaces instead of Pods.

The policy means what a NetworkPolicy with the same spec means, on each network named in its annotation `policy-for`. It
becomes one program per network, addressed to the interfaces that the selected Pods have there. Selected peers count
with their interfaces on *any* of the named networks, since several networks may be one segment; if two of these reuse
an address, the network of the policed interface takes precedence (`GroupSelector.networks`). In an egress rule without
peers, each Pod resolves a named port to its own number, so such a rule is split into two with the same index: the half
with the named ports has all interfaces of the networks as its peers.

Source: multi-networkpolicy README; docs/backends/tc.md says what other implementations do differently.
"""

from collections.abc import Iterator

from msgspec.structs import replace

from sluice.contracts.ids import GroupId, Revision
from sluice.contracts.networks import POLICY_FOR, policy_for
from sluice.contracts.objects import MultiNetworkPolicy
from sluice.contracts.programs import Direction, GroupPeer, Peer, Program, Rule
from sluice.grouping.selectors import GroupSelector, SelectorTerm
from sluice.policy.everypod import is_named
from sluice.policy.groupid import group_id
from sluice.policy.translate import k8s
from sluice.policy.translate.translation import Translation


def translate(policy: MultiNetworkPolicy, cause: Revision) -> Translation:
    """One program for each network; none if the policy names no network, which is reported as a problem.

    Raises:
        Untranslatable: the podSelector is invalid, so it cannot be determined what the policy applies to.
    """
    meta = policy.metadata
    named = policy_for(meta.annotations.get(POLICY_FOR, ""), meta.namespace)
    where = f"MultiNetworkPolicy {meta.namespace}/{meta.name} $.metadata.annotations.{POLICY_FOR}"
    problems = [f"{where}: {reason}" for reason in named.wrong]
    if not named.networks:
        problems.append(f"{where}: it names no network, so the policy applies to nothing; name one")
    flat = k8s.translate(policy, cause)
    groups: dict[GroupId, GroupSelector] = {}
    programs = tuple(_on(flat, network, named.networks, groups) for network in named.networks)
    return Translation(programs, groups, (*problems, *flat.problems))


def _on(flat: Translation, network: str, networks: tuple[str, ...], groups: dict[GroupId, GroupSelector]) -> Program:
    """The program for one network; its groups are added to `groups`."""
    (program,) = flat.programs
    seen = (network, *sorted(other for other in networks if other != network))

    def interfaces(group: GroupId, on: tuple[str, ...]) -> GroupId:
        selector = replace(flat.groups[group], networks=on)
        made = group_id(selector)
        groups[made] = selector
        return made

    def peer(one: Peer) -> Peer:
        return GroupPeer(group=interfaces(one.group, seen)) if isinstance(one, GroupPeer) else one

    def lifted(rule: Rule) -> Iterator[Rule]:
        if rule.peers is not None:
            yield replace(rule, peers=tuple(peer(one) for one in rule.peers))
            return
        named = tuple(each for each in rule.traffic or () if is_named(each))
        if rule.direction is Direction.INGRESS or not named:
            yield rule
            return
        everybody = GroupSelector(terms=(SelectorTerm(),), networks=seen)
        groups[group_id(everybody)] = everybody
        others = tuple(each for each in rule.traffic or () if each not in named)
        if others:
            yield replace(rule, traffic=others)
        yield replace(rule, peers=(GroupPeer(group=group_id(everybody)),), traffic=named)

    rules = tuple(made for rule in program.rules for made in lifted(rule))
    return replace(program, applied_to=interfaces(program.applied_to, (network,)), rules=rules)
