"""Tiers and Antrea-native policies: what is refused, by itself and among others."""

from typing import NamedTuple

import msgspec
import pytest

from sluice.admission.admit import admit
from sluice.admission.among import admit_all, admit_among, admit_removal
from sluice.admission.context import Known
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AntreaNetworkPolicy, ClusterNetworkPolicy, Tier
from sluice.contracts.subjects import ObjectSubject


class Case(NamedTuple):
    name: str
    spec: dict[str, object]
    refused: tuple[str, ...] = ()
    """path: a part of the reason"""


def made(kind, name="a", **spec):
    metadata = {"name": name} | ({"namespace": "x"} if kind is AntreaNetworkPolicy else {})
    written = {"apiVersion": "crd.antrea.io/v1beta1", "kind": kind.__name__, "metadata": metadata, "spec": spec}
    return msgspec.convert(written, kind)


def tier(name, priority):
    return made(Tier, name, priority=priority)


def policy(tier="", name="p"):
    return made(ClusterNetworkPolicy, name, priority=1, tier=tier, appliedTo=PODS)


def check(refusals, expected):
    assert len(refusals) == len(expected), refusals
    for (path, reason), wanted in zip(refusals, expected, strict=True):
        where, _, part = wanted.partition(": ")
        assert path == where
        assert part in reason
        assert ";" in reason, "a reason says what to do"


PODS: list[dict[str, object]] = [{"podSelector": {}}]


def rules(*given, **spec):
    return {"appliedTo": PODS, "ingress": [{"action": "Drop", **rule} for rule in given], **spec}


def peer(**given):
    return rules({"from": [given]})


def port(**given):
    return rules({"ports": [given]})


def icmp(**given):
    return rules({"protocols": [{"icmp": given}]})


RULE = "$.spec.ingress[0]"
FROM = f"{RULE}.from[0]"
PORT = f"{RULE}.ports[0]"
ICMP = f"{RULE}.protocols[0]"
OWN = {"appliedTo": PODS}

BOTH_KINDS = [
    Case("no rules", {"appliedTo": PODS}),
    Case("a rule about everything", rules({})),
    Case("Deny is Drop", rules({"action": "Deny"})),
    Case("the lowest priority", rules({}, priority=1)),
    Case("a fraction", rules({}, priority=1.5)),
    Case("priority 0", rules({}, priority=0), ("$.spec.priority: out of range",)),
    Case("priority 10001", rules({}, priority=10001), ("$.spec.priority: out of range",)),
    Case("a static tier in capitals", rules({}, tier="SecurityOps")),
    Case("a tier by no name", rules({}, tier="My_Tier"), ("$.spec.tier: not a DNS name",)),
    # -- whom it applies to
    Case("nobody", {"ingress": [{"action": "Drop"}]}, ("$.spec.appliedTo: missing",)),
    Case("nobody, without rules", {}, ("$.spec.appliedTo: missing",)),
    Case("by rule", {"ingress": [{"action": "Drop", **OWN}], "egress": [{"action": "Drop", **OWN}]}),
    Case(
        "by one rule of two",
        {"ingress": [{"action": "Drop", **OWN}], "egress": [{"action": "Drop"}]},
        ("$.spec.egress[0].appliedTo: missing",),
    ),
    Case("twice", rules(OWN), (f"{RULE}.appliedTo: spec.appliedTo is given as well",)),
    Case("an empty entry", {"appliedTo": [{}]}, ("$.spec.appliedTo[0]: selects nothing",)),
    Case(
        "an empty entry of a rule",
        {"ingress": [{"action": "Drop", "appliedTo": [{}]}]},
        (f"{RULE}.appliedTo[0]: selects nothing",),
    ),
    Case(
        "a bad label",
        {"appliedTo": [{"podSelector": {"matchLabels": {"a b": "c"}}}]},
        ("$.spec.appliedTo[0].podSelector.matchLabels['a b']: not a label key",),
    ),
    # -- names
    Case("one name", rules({"name": "n"})),
    Case(
        "a name twice",
        rules({"name": "n"}, {"name": "n"}),
        ("$.spec.ingress[1].name: is also the name of $.spec.ingress[0]",),
    ),
    Case(
        "a name in both directions",
        rules({"name": "n"}, egress=[{"action": "Drop", "name": "n"}]),
        ("$.spec.egress[0].name: is also the name of",),
    ),
    Case("a rule twice", rules({}, {}), ("$.spec.ingress[1]: has the same content",)),
    Case("the same in both directions", rules({}, egress=[{"action": "Drop"}])),
    Case("a log label", rules({"enableLogging": True, "logLabel": "a-b"})),
    Case("a bad log label", rules({"logLabel": "a b"}), (f"{RULE}.logLabel: not a label value",)),
    # -- actions
    Case("Pass", rules({"action": "Pass"})),
    Case(
        "Pass in the baseline",
        rules({"action": "Pass"}, tier="Baseline"),
        (f"{RULE}.action: this policy is in the baseline tier",),
    ),
    # -- peers
    Case(
        "from of an egress rule",
        {"appliedTo": PODS, "egress": [{"action": "Drop", "from": PODS}]},
        ("$.spec.egress[0].from: has no from",),
    ),
    Case("to of an ingress rule", rules({"to": PODS}), (f"{RULE}.to: has no to",)),
    Case("a peer that is nobody", peer(), (f"{FROM}: selects nothing",)),
    Case("both selectors", peer(podSelector={}, namespaceSelector={})),
    Case(
        "block and Pods",
        peer(podSelector={}, ipBlock={"cidr": "10.0.0.0/8"}),
        (f"{FROM}: selectors and ipBlock in one entry",),
    ),
    Case("a block with its parts", peer(ipBlock={"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]})),
    Case(
        "an except that is all",
        peer(ipBlock={"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}),
        (f"{FROM}.ipBlock.except[0]: not a smaller part of",),
    ),
    Case("no CIDR", peer(ipBlock={"cidr": "10.0.0.1"}), (f"{FROM}.ipBlock.cidr: not a CIDR",)),
    Case("multicast", peer(ipBlock={"cidr": "225.1.2.3/32"}), (f"{FROM}.ipBlock.cidr: is a multicast address",)),
    Case("multicast of IPv6", peer(ipBlock={"cidr": "ff02::/16"}), (f"{FROM}.ipBlock.cidr: is a multicast address",)),
    # -- traffic
    Case("a protocol alone", port(protocol="SCTP")),
    Case("a range", port(port=80, endPort=90, sourcePort=1000, sourceEndPort=1000)),
    Case("a source port alone", port(sourcePort=53)),
    Case("a name", port(port="http")),
    Case("port 0", port(port=0), (f"{PORT}.port: 0 is not a port",)),
    Case("port 65536", port(port=65536), (f"{PORT}.port: 65536",)),
    Case("a source port too far", port(sourcePort=65536), (f"{PORT}.sourcePort: 65536",)),
    Case("a range backwards", port(port=80, endPort=79), (f"{PORT}.endPort: 79 is less than port 80",)),
    Case("a range without beginning", port(endPort=90), (f"{PORT}.port: missing",)),
    Case("a range from a name", port(port="http", endPort=90), (f"{PORT}.endPort: cannot begin with a name",)),
    Case("a source range backwards", port(sourcePort=80, sourceEndPort=79), (f"{PORT}.sourceEndPort: 79 is less",)),
    Case("a source range without beginning", port(sourceEndPort=90), (f"{PORT}.sourcePort: missing",)),
    Case("ICMP", icmp()),
    Case("a type", icmp(icmpType=255, icmpCode=0)),
    Case("a type too far", icmp(icmpType=256), (f"{ICMP}.icmp.icmpType: out of range",)),
    Case("a negative code", icmp(icmpType=8, icmpCode=-1), (f"{ICMP}.icmp.icmpCode: out of range",)),
    Case("no protocol", rules({"protocols": [{}]}), (f"{ICMP}: has no protocol",)),
]


@pytest.mark.parametrize("kind", [ClusterNetworkPolicy, AntreaNetworkPolicy])
@pytest.mark.parametrize("case", BOTH_KINDS, ids=lambda case: case.name)
def test_policies(case, kind):
    check(admit(made(kind, **{"priority": 5, **case.spec})), case.refused)


NAMESPACES = [
    ("Self", {"match": "Self"}, ""),
    ("labels", {"sameLabels": ["org", "example.com/region"]}, ""),
    ("nothing", {}, f"{FROM}.namespaces: must have exactly one of"),
    ("no labels", {"sameLabels": []}, f"{FROM}.namespaces: must have exactly one of"),
    ("both", {"match": "Self", "sameLabels": ["org"]}, f"{FROM}.namespaces: must have exactly one of"),
    ("a bad key", {"sameLabels": ["o rg"]}, f"{FROM}.namespaces.sameLabels[0]: not a label key"),
]


@pytest.mark.parametrize(("name", "given", "refused"), NAMESPACES, ids=[row[0] for row in NAMESPACES])
def test_namespaces(name, given, refused):
    cluster = made(ClusterNetworkPolicy, priority=1, **peer(namespaces=given, podSelector={}))

    check(admit(cluster), (refused,) if refused else ())


def test_the_namespaced_kind_has_less():
    spec = rules({"from": [{"namespaces": {"match": "Self"}}]}, appliedTo=[{"namespaceSelector": {}}])

    check(
        admit(made(AntreaNetworkPolicy, priority=1, **spec)),
        (
            "$.spec.appliedTo[0].namespaceSelector: of its own Namespace",
            f"{FROM}.namespaces: limited to its own Namespace",
        ),
    )


def test_namespaces_stand_without_a_selector_of_namespaces():
    spec = peer(namespaces={"match": "Self"}, namespaceSelector={})

    check(admit(made(ClusterNetworkPolicy, priority=1, **spec)), (f"{FROM}.namespaces: keep one",))


TIERS = [
    ("mine", 0, ""),
    ("mine", 249, ""),
    ("mine", -1, "not the priority of a tier"),
    ("mine", 256, "not the priority of a tier"),
    ("mine", 251, "reserved"),
    ("mine", 252, "reserved"),
    ("mine", 254, "reserved"),
    ("mine", 255, "reserved"),
    ("mine", 250, "overlaps with the tier application"),
    ("mine", 253, "overlaps with the tier baseline"),
    ("mine", 50, "overlaps with the tier emergency"),
    ("emergency", 50, ""),
    ("baseline", 253, ""),
    ("baseline", 10, "always has priority 253"),
]


@pytest.mark.parametrize(("name", "priority", "refused"), TIERS)
def test_tiers(name, priority, refused):
    check(admit(tier(name, priority)), (f"$.spec.priority: {refused}",) if refused else ())


AMONG = [
    ("static tiers always exist", [policy(), policy("emergency", "q"), policy("Platform", "r")], ()),
    ("a tier that comes later in the list", [policy("mine"), tier("mine", 10)], ()),
    ("no tier", [policy("mine")], ("$.spec.tier: there is no tier mine",)),
    (
        "a tier that is refused",
        [policy("mine"), tier("mine", 50)],
        ("$.spec.tier: there is no", "$.spec.priority: overlaps"),
    ),
    ("two of one priority", [tier("a", 10), tier("b", 10)], ("$.spec.priority: overlaps with the tier a",)),
    ("two of two", [tier("a", 10), tier("b", 11)], ()),
]


@pytest.mark.parametrize(("name", "objects", "refused"), AMONG, ids=[row[0] for row in AMONG])
def test_among_others(name, objects, refused):
    check([refusal for refusals in admit_all(objects) for refusal in refusals], refused)


def test_a_tier_does_not_change_its_place():
    others = Known()
    others.put(tier("mine", 10))

    check(admit_among(tier("mine", 10), others), ())
    check(admit_among(tier("mine", 11), others), ("$.spec.priority: which cannot be changed",))


def test_what_is_needed_stays():
    others = Known()
    for name in ("p", "q"):
        others.put(policy("mine", name))

    def removal(kind, name):
        return admit_removal(ObjectSubject(kind, "", name), others)

    assert "reserved" in (removal(Kind.TIER, "emergency") or "")
    assert "2 policies" in (removal(Kind.TIER, "mine") or "")
    assert removal(Kind.TIER, "other") is None
    assert removal(Kind.CLUSTER_NETWORK_POLICY, "p") is None

    others.remove(ObjectSubject(Kind.CLUSTER_NETWORK_POLICY, "", "p"))
    assert "1 policy;" in (removal(Kind.TIER, "mine") or "")
    others.put(policy("", "q"))
    assert removal(Kind.TIER, "mine") is None
