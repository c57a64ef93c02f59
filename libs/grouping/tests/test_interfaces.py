"""Interfaces on secondary networks as members of groups."""

from typing import NamedTuple

import pytest

from sluice.contracts import networks
from sluice.contracts.groups import Member
from sluice.contracts.ids import Address, GroupId, NodeName
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import NetworkAttachmentDefinition, Pod
from sluice.grouping.attachments import interfaces_of
from sluice.grouping.index import Grouping
from sluice.grouping.selectors import GroupSelector, SelectorTerm, normalise
from sluice.testkit.builders import attached, network, pod, selector

G = GroupId("g")
HERE = NodeName("node-1")
WEB = normalise(selector(app="web"))


def on(*networks: str, pods=()) -> GroupSelector:
    return GroupSelector(terms=(SelectorTerm(namespace="x", pod_selector=pods),), networks=networks)


def grouping(wanted: GroupSelector, *objects: Pod | NetworkAttachmentDefinition) -> Grouping:
    made = Grouping()
    made.select(G, wanted)
    for obj in objects:
        made.put(obj)
    return made


def said(members: tuple[Member, ...]) -> list[str]:
    return [f"{one.pod} {one.attachment.interface} {' '.join(one.addresses)}".rstrip() for one in members]


class Case(NamedTuple):
    name: str
    selector: GroupSelector
    pods: list[Pod]
    members: list[str]


OLDER, NEWER = "2024-05-01T10:00:00Z", "2024-05-02T10:00:00Z"

CASES = [
    Case("a Pod on the cluster's network alone", on("x/n"), [pod("x/a", ip="10.0.0.1")], []),
    Case("an interface on the network", on("x/n"), [pod("x/a", nets=["n=10.1.0.1"])], ["x/a net1 10.1.0.1"]),
    Case("on another network", on("x/n"), [pod("x/a", nets=["m=10.1.0.1", "y/n=10.1.0.2"])], []),
    Case(
        "the networks are named with their namespaces",
        on("x/n", "y/n"),
        [pod("x/a", nets=["x/n=10.1.0.1", "y/n=10.2.0.1"])],
        ["x/a net1 10.1.0.1", "x/a net2 10.2.0.1"],
    ),
    Case(
        "twice on one network",
        on("x/n"),
        [pod("x/a", nets=["n=10.1.0.1", "n=10.1.0.2"])],
        ["x/a net1 10.1.0.1", "x/a net2 10.1.0.2"],
    ),
    Case(
        "labels are the Pod's",
        on("x/n", pods=WEB),
        [pod("x/a", nets=["n=10.1.0.1"], app="web"), pod("x/b", nets=["n=10.1.0.2"])],
        ["x/a net1 10.1.0.1"],
    ),
    Case("without an address it is a member all the same", on("x/n"), [pod("x/a", nets=["n"])], ["x/a net1"]),
    Case(
        "of two with one address the later has it",
        on("x/n"),
        [pod("x/a", nets=["n=10.1.0.1"], created=NEWER), pod("x/b", nets=["n=10.1.0.1"], created=OLDER)],
        ["x/a net1 10.1.0.1", "x/b net1"],
    ),
    Case(
        "networks are spaces of their own",
        on("x/n", "x/m"),
        [pod("x/a", nets=["n=10.1.0.1"]), pod("x/b", nets=["m=10.1.0.2"])],
        ["x/a net1 10.1.0.1", "x/b net1 10.1.0.2"],
    ),
    Case(
        "an address of the first network means nobody on another",
        on("x/n", "x/m", pods=WEB),
        [pod("x/a", nets=["n=10.1.0.1"]), pod("x/b", nets=["m=10.1.0.1,10.1.0.2"], app="web")],
        ["x/b net1 10.1.0.2"],
    ),
    Case(
        "seen from the other network it is the other one",
        on("x/m", "x/n", pods=WEB),
        [pod("x/a", nets=["n=10.1.0.1"]), pod("x/b", nets=["m=10.1.0.1,10.1.0.2"], app="web")],
        ["x/b net1 10.1.0.1 10.1.0.2"],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_members(case: Case):
    for pods in (case.pods, case.pods[::-1]):
        of = grouping(case.selector, *pods)

        assert said(of.members(G, HERE)) == case.members
        assert of.groups_on(HERE) == ((G,) if case.members else ())
        assert of.nodes(G) == ((HERE,) if case.members else ())
        assert dict(of.pages(G, [HERE]))[HERE] == of.members(G, HERE)


class Attached(NamedTuple):
    name: str
    annotations: dict[str, str]
    interfaces: list[str]


def status(*nets: str) -> dict[str, str]:
    return {networks.STATUS: attached(*nets)}


ATTACHED = [
    Attached("nothing", {}, []),
    Attached("asked for", {networks.NETWORKS: "n,y/m@k"}, ["x/n net1 pending", "y/m k pending"]),
    Attached(
        "asked for and reported",
        {networks.NETWORKS: "n", **status("n=10.1.0.1")},
        ["x/n net1 10.1.0.1"],
    ),
    Attached(
        "half of it reported, by another name",
        {networks.NETWORKS: "n,n,m", **status("n@eth9=10.1.0.1")},
        ["x/m net3 pending", "x/n eth9 10.1.0.1", "x/n net2 pending"],
    ),
    Attached(
        "a name that was asked for is waited for",
        {networks.NETWORKS: "n,n@k", **status("n@k=10.1.0.1")},
        ["x/n k 10.1.0.1", "x/n net1 pending"],
    ),
    Attached("reported and not asked for", status("n=10.1.0.1"), ["x/n net1 10.1.0.1"]),
    Attached("reported in the old spelling", {networks.STATUS_BEFORE: attached("n=10.1.0.1")}, ["x/n net1 10.1.0.1"]),
    Attached("reported without a name", {networks.STATUS: '[{"name": "n"}]'}, ["x/n net1"]),
    Attached(
        "asked for by name, reported without one",
        {networks.NETWORKS: "n@k", networks.STATUS: '[{"name": "n", "ips": ["10.1.0.1"]}]'},
        ["x/n k 10.1.0.1"],
    ),
    Attached("the default", {networks.STATUS: '[{"name": "k8s", "interface": "eth0", "default": true}]'}, []),
    Attached("the cluster's network, not marked", status("k8s=10.0.0.9", "n=10.1.0.1"), ["x/n net2 10.1.0.1"]),
    Attached("unreadable", {networks.NETWORKS: "a,,b", networks.STATUS: "["}, []),
]


@pytest.mark.parametrize("case", ATTACHED, ids=lambda case: case.name)
def test_interfaces_of_a_pod(case: Attached):
    made = pod("x/a", ip="10.0.0.9", annotations=case.annotations)

    found = [
        f"{one.attachment.network} {one.attachment.interface} {' '.join(one.addresses)}".rstrip()
        + ("" if one.attachment.attached else " pending")
        for one in interfaces_of(made)
    ]
    assert found == case.interfaces


def test_a_late_network_makes_its_interfaces_known_and_tells_so():
    of = grouping(on("x/n"), pod("x/a", nets=["n=10.1.0.1/via/eth3"]))
    of.drain()

    (before,) = of.members(G, HERE)
    assert (before.attachment.plugin, before.attachment.representor) == ("", "eth3")
    assert of.put(network("x/n", trunk=[{"id": 7}]))
    assert of.drain().pages == {G: {HERE}}
    (after,) = of.members(G, HERE)
    assert (after.attachment.plugin, after.attachment.tagged) == ("accelerated-bridge", True)
    of.delete(Kind.NETWORK_ATTACHMENT, "x", "n")
    assert of.members(G, HERE) == (before,)


def test_a_hot_plugged_interface_is_told():
    of = grouping(on("x/n"), pod("x/a"))
    of.drain()

    of.put(pod("x/a", nets=["n=10.1.0.1"]))
    changes = of.drain()

    assert (changes.pages, changes.owns) == ({G: {HERE}}, {HERE})
    assert said(of.members(G, HERE)) == ["x/a net1 10.1.0.1"]


def test_who_takes_an_address_on_the_first_network_takes_it_from_those_on_others():
    of = grouping(on("x/n", "x/m", pods=WEB), pod("x/b", nets=["m=10.1.0.1"], app="web"))
    of.drain()

    of.put(pod("x/a", nets=["n=10.1.0.1"]))
    assert of.drain().pages[G] == {HERE}
    assert said(of.members(G, HERE)) == ["x/b net1"]

    of.delete(Kind.POD, "x", "a")
    assert of.drain().pages[G] == {HERE}
    assert of.members(G, HERE)[0].addresses == (Address("10.1.0.1"),)
