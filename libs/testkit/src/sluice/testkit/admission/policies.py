"""ClusterNetworkPolicy and NetworkPolicy of Antrea: what they apply to, and the contents of their rules."""

from collections.abc import Mapping
from typing import Any

from sluice.testkit.admission.case import Case, crd, service

Json = Mapping[str, Any]

PODS: list[Json] = [{"podSelector": {}}]
NODES: list[Json] = [{"nodeSelector": {"matchLabels": {"kubernetes.io/os": "linux"}}}]
SERVICES: list[Json] = [{"service": {"name": "web", "namespace": "x"}}]
ACCOUNT: Json = {"serviceAccount": {"name": "sa-1", "namespace": "x"}}
BLOCK: Json = {"ipBlock": {"cidr": "10.0.10.0/24"}}
IN, OUT = "$.spec.ingress[0]", "$.spec.egress[0]"


def cluster(**spec: Any) -> dict[str, Any]:
    return crd("ClusterNetworkPolicy", {"priority": 5, "appliedTo": PODS, **spec})


def spaced(**spec: Any) -> dict[str, Any]:
    return crd("NetworkPolicy", {"priority": 5, "appliedTo": PODS, **spec}, namespace="x")


def established(text: str, made: dict[str, Any]) -> dict[str, Any]:
    made["metadata"]["annotations"] = {"policy.sluice.dev/established": text}
    return made


def lacking(field: str, **spec: Any) -> dict[str, Any]:
    made = cluster(**spec)
    del made["spec"][field]
    return made


def applied(*entries: Json) -> dict[str, Any]:
    return cluster(appliedTo=list(entries))


def ingress(*rules: Json, **spec: Any) -> dict[str, Any]:
    return cluster(ingress=[{"action": "Drop", **rule} for rule in rules], **spec)


def egress(*rules: Json, **spec: Any) -> dict[str, Any]:
    return cluster(egress=[{"action": "Drop", **rule} for rule in rules], **spec)


def source(**peer: Any) -> dict[str, Any]:
    return ingress({"from": [peer]})


def target(*, action: str = "Drop", **peer: Any) -> dict[str, Any]:
    return egress({"action": action, "to": [peer]})


def port(**given: Any) -> dict[str, Any]:
    return ingress({"ports": [given]})


def by_rule(*entries: Json, way: str = "ingress") -> dict[str, Any]:
    return lacking("appliedTo", **{way: [{"action": "Drop", "appliedTo": list(entries)}]})


def http(**given: Any) -> dict[str, Any]:
    return l7({"http": given})


def l7(*protocols: Json, action: str = "Allow", **rule: Any) -> dict[str, Any]:
    return ingress({"action": action, "l7Protocols": list(protocols), **rule})


def igmp(*, way: str = "ingress", beside: Json | None = None, **given: Any) -> dict[str, Any]:
    return cluster(**{way: [{"action": "Drop", "protocols": [{"igmp": given}], **(beside or {})}]})


def to_services(*services: Json, **rule: Any) -> dict[str, Any]:
    return egress({"toServices": list(services), **rule})


WEB: Json = {"name": "web", "namespace": "x"}
KNOWN = (
    service("web", {"type": "NodePort", "clusterIP": "10.96.0.1"}),
    service("inner", {"clusterIP": "10.96.0.2"}),
    service("headless", {"clusterIP": "None"}),
)


def group(name: str, spec: Json | None = None) -> dict[str, Any]:
    return crd("ClusterGroup", spec or {"podSelector": {}}, name=name)


_COMES = "there is no group g yet; it counts as empty until"

ACCEPTED = (
    Case("no rules", cluster()),
    Case("established connections end", established("end", cluster())),
    Case("established connections stay", established("keep", spaced())),
    Case("the lowest priority", cluster(priority=1)),
    Case("the highest priority", cluster(priority=10000)),
    Case("a fraction", cluster(priority=1.5)),
    Case("a rule about everything", ingress({})),
    Case("Deny is Drop", ingress({"action": "Deny"})),
    Case("every action", ingress({"action": "Allow"}, {"action": "Reject"}, {"action": "Pass"}, {})),
    Case("unnamed twins in both directions", cluster(ingress=[{"action": "Drop"}], egress=[{"action": "Drop"}])),
    Case("a named twin", ingress({"name": "n"}, {})),
    Case("a log label", ingress({"enableLogging": True, "logLabel": "frontend-allowed"})),
    Case(
        "a long log label on Nodes",
        ingress({"enableLogging": True, "logLabel": "frontend-allowed"}, appliedTo=NODES),
        cautions=(f"{IN}.logLabel: a Node logs only the first 12 characters",),
    ),
    # -- whom it applies to
    Case("Pods and Namespaces", applied({"podSelector": {}, "namespaceSelector": {}}, {"namespaceSelector": {}})),
    Case("a group", applied({"group": "g"}), among=(group("g"),)),
    Case("a group to come", applied({"group": "g"}), cautions=(f"$.spec.appliedTo[0].group: {_COMES}",)),
    Case(
        "a group of addresses",
        applied({"group": "g"}),
        cautions=("$.spec.appliedTo[0].group: a policy cannot apply to addresses",),
        among=(group("g", {"ipBlocks": [{"cidr": "10.0.0.0/8"}]}),),
    ),
    Case(
        "a group and selectors",
        applied({"group": "g"}, {"podSelector": {}}),
        among=(group("g"),),
        cautions=("$.spec.appliedTo[0].group: also has selectors, as $.spec.appliedTo[1] does",),
    ),
    Case("a service account", applied(ACCOUNT)),
    Case("Nodes", applied(*NODES)),
    Case("a Service", cluster(appliedTo=SERVICES, ingress=[{"action": "Drop", "from": [BLOCK]}]), among=KNOWN),
    Case("a Service, and everybody", cluster(appliedTo=SERVICES, ingress=[{"action": "Drop"}]), among=KNOWN),
    Case(
        "a Service to come",
        cluster(appliedTo=SERVICES, ingress=[{"action": "Drop"}]),
        cautions=("$.spec.appliedTo[0].service: there is no Service x/web yet",),
    ),
    Case("by rule", by_rule(*PODS)),
    Case("by rule of egress", by_rule(*PODS, way="egress")),
    Case("a Service by rule", by_rule(*SERVICES), among=KNOWN),
    # -- peers
    Case("both selectors", source(podSelector={}, namespaceSelector={})),
    Case("its own Namespace", source(namespaces={"match": "Self"}, podSelector={})),
    Case("the same labels", source(namespaces={"sameLabels": ["org", "example.com/region"]})),
    Case("a block with its parts", source(ipBlock={"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]})),
    Case("a block of IPv6", source(ipBlock={"cidr": "fd00::/8"})),
    Case(
        "from a group",
        source(group="g"),
        cautions=(
            f"{IN}.from[0].group: also has selectors, as $.spec.appliedTo[0] does",
            f"{IN}.from[0].group: {_COMES}",
        ),
    ),
    Case(
        "from a group that is there",
        ingress({"from": [{"group": "g"}]}, appliedTo=[{"group": "g"}]),
        among=(group("g"),),
    ),
    Case("from a service account", source(**ACCOUNT)),
    Case("from Nodes", source(nodeSelector={})),
    Case("to Nodes", target(nodeSelector={"matchLabels": {"node-role.kubernetes.io/control-plane": ""}})),
    Case("to a service account", target(**ACCOUNT)),
    Case("to a name", target(fqdn="svcA.default.svc.cluster.local")),
    Case("to what is below a name", target(fqdn="*.foobar.com", action="Allow")),
    Case("to whatever ends so", target(fqdn="*foobar.com"), cautions=(f"{OUT}.to[0].fqdn: also evilfoobar.com",)),
    Case("to many", target(ipBlock={"cidr": "225.1.2.3/32"})),
    Case("to more of many", egress({"to": [{"ipBlock": {"cidr": "225.0.0.0/8"}}, {"ipBlock": {"cidr": "ff05::/16"}}]})),
    Case("to many, allowed", target(ipBlock={"cidr": "225.1.2.3/32"}, action="Allow")),
    # -- Services
    Case("to a Service", to_services(WEB), among=KNOWN),
    Case("to a Service to come", to_services(WEB), cautions=(f"{OUT}.toServices[0]: there is no Service x/web yet",)),
    Case("to Services", to_services(WEB, {"name": "inner", "namespace": "x"}), among=KNOWN),
    Case(
        "to a Service that nothing is called",
        to_services({"name": "svcName", "namespace": "svcNamespace"}),
        cautions=(
            f"{OUT}.toServices[0].name: no object can be called",
            f"{OUT}.toServices[0].namespace: no object can be called",
        ),
    ),
    # -- traffic
    Case("a protocol alone", port(protocol="SCTP")),
    Case("a range", port(port=80, endPort=90, sourcePort=1000, sourceEndPort=1000)),
    Case("the first and the last port", ingress({"ports": [{"port": 1}, {"port": 65535, "endPort": 65535}]})),
    Case("a source port alone", port(sourcePort=53)),
    Case("a name of a port", port(port="http")),
    Case("all of ICMP", ingress({"protocols": [{"icmp": {}}]})),
    Case("a type and code", egress({"action": "Reject", "protocols": [{"icmp": {"icmpType": 8, "icmpCode": 0}}]})),
    Case("ports and ICMP", ingress({"ports": [{"port": 80}], "protocols": [{"icmp": {}}]})),
    Case("queries", igmp(igmpType=0x11, groupAddress="224.0.0.1")),
    Case("all queries", igmp()),
    Case("reports", igmp(way="egress", igmpType=0x16, groupAddress="225.1.2.3")),
    Case("all reports", igmp(way="egress")),
    Case("a rule after one about IGMP", ingress({"protocols": [{"igmp": {}}]}, {"ports": [{"port": 80}]})),
    # -- requests
    Case("a request", http(path="/api/v2/*", host="foo.bar.com", method="GET")),
    Case("any request", http()),
    Case("requests by wildcards", l7({"http": {"host": "*.foo.*"}}, {"http": {"path": "*/v2/*"}})),
    Case("a path with a space", http(path="/a b")),
    Case("a path with a query", http(path="/a?b"), cautions=(f"{IN}.l7Protocols[0].http.path: matches nothing",)),
    Case(
        "a path that is encoded",
        http(path="/a%20b"),
        cautions=(f"{IN}.l7Protocols[0].http.path: after percent-decoding",),
    ),
    Case("requests on a port", l7({"http": {}}, ports=[{"port": 80}, {"protocol": "TCP", "port": "web"}])),
    Case("a handshake", l7({"tls": {"sni": "*.bar.com"}})),
    Case("handshakes and requests", l7({"tls": {}}, {"http": {}})),
    Case(
        "handshakes over UDP",
        l7({"tls": {}}, ports=[{"protocol": "UDP", "port": 443}]),
        cautions=(f"{IN}.ports[0].protocol: TLS is recognised only over TCP, not UDP",),
    ),
    # -- of a Namespace
    Case("a policy of a Namespace", spaced(ingress=[{"action": "Allow", "from": PODS}])),
    Case("of a Namespace, from another", spaced(ingress=[{"action": "Allow", "from": [{"namespaceSelector": {}}]}])),
    Case(
        "of a Namespace, to Nodes and a name",
        spaced(egress=[{"action": "Allow", "to": [*NODES, {"fqdn": "a.example"}]}]),
    ),
    Case(
        "of a Namespace, to a Service of its own",
        spaced(egress=[{"action": "Drop", "toServices": [{"name": "web"}]}]),
        among=KNOWN,
    ),
    Case(
        "of a Namespace, by a Group",
        spaced(appliedTo=[{"group": "g"}, {"podSelector": {}}]),
        among=(crd("Group", {"podSelector": {}}, name="g", namespace="x"),),
    ),
    Case(
        "of a Namespace, by a Group of others",
        spaced(appliedTo=[{"group": "g"}]),
        cautions=("$.spec.appliedTo[0].group: if it selects Pods of another Namespace",),
        among=(crd("Group", {"namespaceSelector": {}}, name="g", namespace="x"),),
    ),
    Case(
        "of a Namespace, by a Group that is elsewhere",
        spaced(appliedTo=[{"group": "g"}]),
        among=(group("g"),),
        cautions=(f"$.spec.appliedTo[0].group: {_COMES}",),
    ),
)

_APPLIED = "$.spec.appliedTo"
_PORT = f"{IN}.ports[0]"
_IGMP = f"{IN}.protocols[0].igmp"
_HTTP = f"{IN}.l7Protocols[0].http"
_ALONE = "in one entry, which may have only one of them"
_MANY = "is not possible for multicast"
_OWN = "limited to its own Namespace"

REFUSED = (
    Case(
        "established connections: neither",
        established("flush", cluster()),
        ("$.metadata.annotations['policy.sluice.dev/established']: neither keep nor end",),
    ),
    Case("no priority", lacking("priority"), ("$.spec.priority: missing",)),
    Case("priority 0", cluster(priority=0), ("$.spec.priority: 0 is out of range; give one of 1 to 10000",)),
    Case("priority 10001", cluster(priority=10001), ("$.spec.priority: 10001 is out of range",)),
    Case("a huge priority", cluster(priority=1e300), ("$.spec.priority: 1e+300 is out of range",)),
    Case("a priority in quotes", cluster(priority="5"), ("$.spec.priority: is text where a number",)),
    Case(
        "a tier by no name", cluster(tier="My_Tier"), ("$.spec.tier: not a DNS name", "$.spec.tier: there is no tier")
    ),
    Case(
        "Pass in the baseline",
        ingress({"action": "Pass"}, tier="Baseline"),
        (f"{IN}.action: this policy is in the baseline tier",),
    ),
    Case("no action", cluster(ingress=[{}]), (f"{IN}.action: missing",)),
    Case(
        "another action", ingress({"action": "Block"}), (f"{IN}.action: write one of Allow, Deny, Drop, Pass, Reject",)
    ),
    Case("an action in small letters", ingress({"action": "drop"}), (f"{IN}.action: write Drop",)),
    Case("an unknown field", cluster(ingres=[]), ("$.spec.ingres: did you mean `ingress`",)),
    Case("an unknown field of a rule", ingress({"form": PODS}), (f"{IN}.form: unknown field",)),
    Case("an empty rule", cluster(ingress=[None]), (f"{IN}: an empty item",)),
    # -- whom it applies to
    Case("nobody", lacking("appliedTo", ingress=[{"action": "Drop"}]), (f"{_APPLIED}: missing",)),
    Case("nobody, without rules", lacking("appliedTo"), (f"{_APPLIED}: the policy would apply to nothing",)),
    Case("twice", ingress({"appliedTo": PODS}), (f"{IN}.appliedTo: spec.appliedTo is given as well",)),
    Case(
        "by one rule of two",
        lacking("appliedTo", ingress=[{"action": "Drop", "appliedTo": PODS}], egress=[{"action": "Drop"}]),
        (f"{OUT}.appliedTo: missing, while other rules have",),
    ),
    Case("an empty entry", applied({}), (f"{_APPLIED}[0]: selects nothing",)),
    Case(
        "an entry of an unknown field",
        applied({"nodeselector": {}}),
        (f"{_APPLIED}[0].nodeselector: did you mean `nodeSelector`",),
    ),
    Case("an empty entry of a rule", by_rule({}), (f"{IN}.appliedTo[0]: selects nothing",)),
    Case("Nodes by rule", by_rule(*NODES), (f"{IN}.appliedTo[0].nodeSelector: a single rule cannot apply to Nodes",)),
    Case(
        "Nodes by rule of egress",
        by_rule(*NODES, way="egress"),
        (f"{OUT}.appliedTo[0].nodeSelector: in the appliedTo of the spec",),
    ),
    Case("a block", applied(BLOCK), (f"{_APPLIED}[0].ipBlock: unknown field",)),
    Case(
        "external entities",
        applied({"externalEntitySelector": {}}),
        (f"{_APPLIED}[0].externalEntitySelector: not supported yet",),
    ),
    Case(
        "a group and Pods",
        applied({"group": "g", "podSelector": {}}),
        (f"{_APPLIED}[0]: selectors and group {_ALONE}",),
    ),
    Case(
        "a group and Namespaces",
        applied({"group": "g", "namespaceSelector": {}}),
        (f"{_APPLIED}[0]: selectors and group {_ALONE}",),
    ),
    Case(
        "an account and Pods",
        applied({**ACCOUNT, "podSelector": {}}),
        (f"{_APPLIED}[0]: selectors and serviceAccount {_ALONE}",),
    ),
    Case(
        "an account and a group",
        applied({**ACCOUNT, "group": "g"}),
        (f"{_APPLIED}[0]: group and serviceAccount {_ALONE}",),
    ),
    Case(
        "Nodes and Pods",
        applied({**NODES[0], "podSelector": {}}),
        (f"{_APPLIED}[0]: selectors and nodeSelector {_ALONE}",),
    ),
    Case(
        "a Service and Pods",
        applied({**SERVICES[0], "podSelector": {}}),
        (f"{_APPLIED}[0]: selectors and service {_ALONE}",),
    ),
    Case("a Service beside Pods", applied(*SERVICES, *PODS), (f"{_APPLIED}: a Service together with other entries",)),
    Case(
        "a Service and egress",
        cluster(appliedTo=SERVICES, egress=[{"action": "Drop"}]),
        (f"{OUT}: an egress rule cannot apply",),
    ),
    Case(
        "a Service by rule of egress",
        by_rule(*SERVICES, way="egress"),
        (f"{OUT}.appliedTo: an egress rule cannot apply",),
    ),
    Case(
        "a Service, from Pods",
        cluster(appliedTo=SERVICES, ingress=[{"action": "Drop", "from": [BLOCK, PODS[0]]}]),
        (f"{IN}.from[1]: known only by their addresses",),
    ),
    Case(
        "a Service by rule, from a group",
        lacking("appliedTo", ingress=[{"action": "Drop", "appliedTo": SERVICES, "from": [{"group": "g"}]}]),
        (f"{IN}.from[0]: write an ipBlock",),
    ),
    Case(
        "a Service without a port on Nodes",
        cluster(appliedTo=[{"service": {"name": "inner", "namespace": "x"}}]),
        (f"{_APPLIED}[0].service: a Service of type ClusterIP has no NodePort",),
        among=KNOWN,
    ),
    Case(
        "a Service without Namespace",
        applied({"service": {"name": "web"}}),
        (f"{_APPLIED}[0].service.namespace: missing",),
    ),
    Case(
        "an account without name",
        applied({"serviceAccount": {"namespace": "x"}}),
        (f"{_APPLIED}[0].serviceAccount.name: missing",),
    ),
    Case(
        "an account by no name",
        applied({"serviceAccount": {"name": "a b", "namespace": "x"}}),
        (f"{_APPLIED}[0].serviceAccount.name: is not a valid name",),
    ),
    Case("a group by no name", applied({"group": "a_b"}), (f"{_APPLIED}[0].group: is not a valid name",)),
    Case(
        "a bad label",
        applied({"podSelector": {"matchLabels": {"a b": "c"}}}),
        (f"{_APPLIED}[0].podSelector.matchLabels['a b']: not a label key",),
    ),
    Case(
        "a bad label of Nodes",
        applied({"nodeSelector": {"matchLabels": {"a": "-"}}}),
        (f"{_APPLIED}[0].nodeSelector.matchLabels.a: not a label value",),
    ),
    # -- names
    Case(
        "a name twice",
        ingress({"name": "n"}, {"name": "n"}),
        ("$.spec.ingress[1].name: is also the name of $.spec.ingress[0]",),
    ),
    Case(
        "a name in both directions",
        cluster(ingress=[{"action": "Drop", "name": "n"}], egress=[{"action": "Drop", "name": "n"}]),
        (f"{OUT}.name: is also the name of {IN}",),
    ),
    Case("a rule twice", ingress({}, {}), ("$.spec.ingress[1]: has the same content as $.spec.ingress[0]",)),
    Case("a bad log label", ingress({"logLabel": "a b"}), (f"{IN}.logLabel: not a label value",)),
    Case("a log label that is too long", ingress({"logLabel": "a" * 64}), (f"{IN}.logLabel: at most 63",)),
    # -- peers
    Case("from of egress", egress({"from": PODS}), (f"{OUT}.from: an egress rule has no from",)),
    Case("to of ingress", ingress({"to": PODS}), (f"{IN}.to: an ingress rule has no to",)),
    Case("a peer that is nobody", source(), (f"{IN}.from[0]: selects nothing",)),
    Case("a block and Pods", source(**BLOCK, podSelector={}), (f"{IN}.from[0]: selectors and ipBlock {_ALONE}",)),
    Case("a block and a group", source(**BLOCK, group="g"), (f"{IN}.from[0]: ipBlock and group {_ALONE}",)),
    Case(
        "a group and its Namespace",
        source(group="g", namespaces={"match": "Self"}),
        (f"{IN}.from[0]: selectors and group {_ALONE}",),
    ),
    Case(
        "a group and selectors of one peer",
        source(group="g", podSelector={}),
        (f"{IN}.from[0]: selectors and group {_ALONE}",),
    ),
    Case(
        "from an account and Pods",
        source(**ACCOUNT, podSelector={}),
        (f"{IN}.from[0]: selectors and serviceAccount {_ALONE}",),
    ),
    Case(
        "from Nodes and Pods",
        source(nodeSelector={}, podSelector={}),
        (f"{IN}.from[0]: selectors and nodeSelector {_ALONE}",),
    ),
    Case("a name and a block", target(fqdn="a.example", **BLOCK), (f"{OUT}.to[0]: ipBlock and fqdn {_ALONE}",)),
    Case("a name and Pods", target(fqdn="a.example", podSelector={}), (f"{OUT}.to[0]: selectors and fqdn {_ALONE}",)),
    Case(
        "Namespaces twice",
        source(namespaces={"match": "Self"}, namespaceSelector={}),
        (f"{IN}.from[0].namespaces: keep one of the two",),
    ),
    Case("Namespaces like nothing", source(namespaces={}), (f"{IN}.from[0].namespaces: must have exactly one of",)),
    Case(
        "Namespaces like two things",
        source(namespaces={"match": "Self", "sameLabels": ["a"]}),
        (f"{IN}.from[0].namespaces: must have exactly one of",),
    ),
    Case(
        "Namespaces like others",
        source(namespaces={"match": "Other"}),
        (f"{IN}.from[0].namespaces.match: write one of Self",),
    ),
    Case(
        "labels by no key",
        source(namespaces={"sameLabels": ["o rg"]}),
        (f"{IN}.from[0].namespaces.sameLabels[0]: not a label key",),
    ),
    Case("a scope", source(podSelector={}, scope="ClusterSet"), (f"{IN}.from[0].scope: not supported yet",)),
    Case("no CIDR", source(ipBlock={"cidr": "10.0.0.1"}), (f"{IN}.from[0].ipBlock.cidr: not a CIDR",)),
    Case(
        "a prefix that is too long",
        source(ipBlock={"cidr": "10.0.0.0/33"}),
        (f"{IN}.from[0].ipBlock.cidr: not a CIDR",),
    ),
    Case(
        "an except that is all",
        source(ipBlock={"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}),
        (f"{IN}.from[0].ipBlock.except[0]: not a smaller part of",),
    ),
    Case(
        "an except of another family",
        source(ipBlock={"cidr": "10.0.0.0/8", "except": ["fd00::/16"]}),
        (f"{IN}.from[0].ipBlock.except[0]: not a smaller part of",),
    ),
    Case("from a name", source(fqdn="a.example"), (f"{IN}.from[0].fqdn: DNS queries of the sender",)),
    Case("a name with an underscore", target(fqdn="a_b.example"), (f"{OUT}.to[0].fqdn: not a domain name",)),
    Case("a name with a question mark", target(fqdn="a?.example"), (f"{OUT}.to[0].fqdn: not a domain name",)),
    Case("a name with a space", target(fqdn="a b"), (f"{OUT}.to[0].fqdn: not a domain name",)),
    Case("a name of other letters", target(fqdn="bücher.example"), (f"{OUT}.to[0].fqdn: not a domain name",)),
    Case("a URL", target(fqdn="https://a.example/"), (f"{OUT}.to[0].fqdn: not a domain name",)),
    # -- many
    Case("from many", source(ipBlock={"cidr": "225.0.0.0/8"}), (f"{IN}.from[0].ipBlock.cidr: is a multicast address",)),
    Case(
        "rejecting many", target(ipBlock={"cidr": "225.0.0.0/8"}, action="Reject"), (f"{OUT}.action: Reject {_MANY}",)
    ),
    Case("passing many", target(ipBlock={"cidr": "225.0.0.0/8"}, action="Pass"), (f"{OUT}.action: Pass {_MANY}",)),
    Case(
        "many beside few",
        egress({"to": [BLOCK, {"ipBlock": {"cidr": "225.0.0.0/8"}}]}),
        (f"{OUT}.to[1].ipBlock.cidr: other blocks of the rule are not",),
    ),
    # -- Services
    Case(
        "Services and to", to_services(WEB, to=PODS), (f"{OUT}.to: toServices already defines the addresses and ports",)
    ),
    Case("Services and ports", to_services(WEB, ports=[{"port": 80}]), (f"{OUT}.ports: toServices already defines",)),
    Case(
        "Services and protocols",
        to_services(WEB, protocols=[{"icmp": {}}]),
        (f"{OUT}.protocols: toServices already defines",),
    ),
    Case(
        "Services and requests",
        to_services(WEB, action="Allow", l7Protocols=[{"http": {}}]),
        (f"{OUT}.l7Protocols: toServices already defines",),
    ),
    Case(
        "Services of ingress", ingress({"toServices": [WEB]}), (f"{IN}.toServices: an ingress rule has no toServices",)
    ),
    Case("a Service of no Namespace", to_services({"name": "web"}), (f"{OUT}.toServices[0].namespace: missing",)),
    Case("a Service of no name", to_services({"namespace": "x"}), (f"{OUT}.toServices[0].name: missing",)),
    Case(
        "a Service by no name",
        to_services({"name": "a_b", "namespace": "x"}),
        (f"{OUT}.toServices[0].name: is not a valid name",),
    ),
    Case(
        "a Service of a set of clusters",
        to_services({**WEB, "scope": "ClusterSet"}),
        (f"{OUT}.toServices[0].scope: not supported yet",),
    ),
    Case(
        "a headless Service",
        to_services({"name": "headless", "namespace": "x"}),
        (f"{OUT}.toServices[0]: a headless Service",),
        among=KNOWN,
    ),
    # -- traffic
    Case("port 0", port(port=0), (f"{_PORT}.port: 0 is not a port; give one of 1 to 65535",)),
    Case("port 65536", port(port=65536), (f"{_PORT}.port: 65536 is not a port",)),
    Case("a negative port", port(port=-1), (f"{_PORT}.port: -1 is not a port",)),
    Case("an end too far", port(port=1, endPort=65536), (f"{_PORT}.endPort: 65536 is not a port",)),
    Case("a source port too far", port(sourcePort=65536), (f"{_PORT}.sourcePort: 65536 is not a port",)),
    Case("a range backwards", port(port=80, endPort=79), (f"{_PORT}.endPort: 79 is less than port 80",)),
    Case("a range without beginning", port(endPort=90), (f"{_PORT}.port: missing, but endPort is given",)),
    Case("a range from a name", port(port="http", endPort=90), (f"{_PORT}.endPort: cannot begin with a name",)),
    Case("a name that is a number", port(port="80"), (f"{_PORT}.port: write it without quotes",)),
    Case("a name that is too long", port(port="a" * 16), (f"{_PORT}.port: not a port name",)),
    Case("a source range backwards", port(sourcePort=80, sourceEndPort=79), (f"{_PORT}.sourceEndPort: 79 is less",)),
    Case("a source range without beginning", port(sourceEndPort=90), (f"{_PORT}.sourcePort: missing",)),
    Case("another protocol", port(protocol="ICMP"), (f"{_PORT}.protocol: write one of SCTP, TCP, UDP",)),
    Case("a port that is a fraction", port(port=80.5), (f"{_PORT}.port: where an integer",)),
    Case(
        "a type too far",
        ingress({"protocols": [{"icmp": {"icmpType": 256}}]}),
        (f"{IN}.protocols[0].icmp.icmpType: 256 is out of range",),
    ),
    Case(
        "a negative code",
        ingress({"protocols": [{"icmp": {"icmpCode": -1}}]}),
        (f"{IN}.protocols[0].icmp.icmpCode: -1 is out of range",),
    ),
    Case("no protocol", ingress({"protocols": [{}]}), (f"{IN}.protocols[0]: has no protocol",)),
    Case(
        "two protocols",
        ingress({"protocols": [{"icmp": {}, "igmp": {}}]}),
        (f"{IN}.protocols[0]: icmp and igmp in one entry", f"{IN}.protocols: IGMP and ICMP in one rule"),
    ),
    # -- IGMP
    Case("reports that come in", igmp(igmpType=0x16), (f"{_IGMP}.igmpType: give 17 (0x11), or leave igmpType out",)),
    Case(
        "queries that go out",
        igmp(way="egress", igmpType=0x11),
        (f"{OUT}.protocols[0].igmp.igmpType: give 18 (0x12) or 22 (0x16) or 34",),
    ),
    Case(
        "a query of one group",
        igmp(groupAddress="225.1.2.3"),
        (f"{_IGMP}.groupAddress: give 224.0.0.1, or leave groupAddress out",),
    ),
    Case(
        "a group that is none",
        igmp(way="egress", groupAddress="10.0.0.1"),
        (f"{OUT}.protocols[0].igmp.groupAddress: is not an IPv4 multicast group",),
    ),
    Case(
        "a group of IPv6",
        igmp(way="egress", groupAddress="ff02::1"),
        (f"{OUT}.protocols[0].igmp.groupAddress: is not an IPv4 multicast group",),
    ),
    Case("a group by name", igmp(groupAddress="all"), (f"{_IGMP}.groupAddress: not an IP address",)),
    Case("rejecting IGMP", igmp(beside={"action": "Reject"}), (f"{IN}.action: Reject {_MANY}",)),
    Case("passing IGMP", igmp(beside={"action": "Pass"}), (f"{IN}.action: Pass {_MANY}",)),
    Case("IGMP from Pods", igmp(beside={"from": PODS}), (f"{IN}.from: IGMP has no peers and no ports",)),
    Case("IGMP to Pods", igmp(way="egress", beside={"to": PODS}), (f"{OUT}.to: IGMP has no peers and no ports",)),
    Case("IGMP on ports", igmp(beside={"ports": [{"port": 80}]}), (f"{IN}.ports: IGMP has no peers",)),
    Case(
        "IGMP and ICMP in one rule",
        ingress({"protocols": [{"igmp": {}}, {"icmp": {}}]}),
        (f"{IN}.protocols: IGMP and ICMP in one rule",),
    ),
    # -- requests
    Case("dropping requests", l7({"http": {}}, action="Drop"), (f"{IN}.action: use Allow",)),
    Case("rejecting handshakes", l7({"tls": {}}, action="Reject"), (f"{IN}.action: use Allow",)),
    Case("passing requests", l7({"http": {}}, action="Pass"), (f"{IN}.action: use Allow",)),
    Case(
        "requests over UDP",
        l7({"http": {}}, ports=[{"protocol": "UDP", "port": 80}]),
        (f"{IN}.ports[0].protocol: HTTP runs over TCP",),
    ),
    Case("requests over ICMP", l7({"http": {}}, protocols=[{"icmp": {}}]), (f"{IN}.protocols: HTTP runs over TCP",)),
    Case("a request by no protocol", l7({}), (f"{IN}.l7Protocols[0]: has no protocol",)),
    Case("a request by two", l7({"http": {}, "tls": {}}), (f"{IN}.l7Protocols[0]: http and tls in one entry",)),
    Case("a request by another", l7({"grpc": {}}), (f"{IN}.l7Protocols[0].grpc: unknown field",)),
    Case("another method", http(method="LIST"), (f"{_HTTP}.method: write one of GET, POST",)),
    Case("a method in small letters", http(method="get"), (f"{_HTTP}.method: write GET",)),
    Case("a host with a port", http(host="a.example:80"), (f"{_HTTP}.host: has a port",)),
    Case("a host of other letters", http(host="bücher.example"), (f"{_HTTP}.host: cannot be a host name",)),
    Case(
        "a path of other letters",
        http(path="/b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher"),
        (f"{_HTTP}.path: not compared",),
    ),
    Case("a path with a newline", http(path="/a\nb"), (f"{_HTTP}.path: not compared",)),
    Case("a path that is too long", http(path="/" + "a" * 2048), (f"{_HTTP}.path: 2049 characters",)),
    Case(
        "a handshake for a line",
        l7({"tls": {"sni": "a\nb"}}),
        (f"{IN}.l7Protocols[0].tls.sni: cannot be a host name",),
    ),
    # -- of a Namespace
    Case(
        "of a Namespace, applied to others",
        spaced(appliedTo=[{"namespaceSelector": {}}]),
        (f"{_APPLIED}[0].namespaceSelector: of its own Namespace",),
    ),
    Case("of a Namespace, applied to Nodes", spaced(appliedTo=NODES), (f"{_APPLIED}[0].nodeSelector: {_OWN}",)),
    Case("of a Namespace, applied to a Service", spaced(appliedTo=SERVICES), (f"{_APPLIED}[0].service: {_OWN}",)),
    Case(
        "of a Namespace, applied to an account", spaced(appliedTo=[ACCOUNT]), (f"{_APPLIED}[0].serviceAccount: {_OWN}",)
    ),
    Case(
        "of a Namespace, from an account",
        spaced(ingress=[{"action": "Drop", "from": [ACCOUNT]}]),
        (f"{IN}.from[0].serviceAccount: {_OWN}",),
    ),
    Case(
        "of a Namespace, from its own",
        spaced(ingress=[{"action": "Drop", "from": [{"namespaces": {"match": "Self"}}]}]),
        (f"{IN}.from[0].namespaces: limited to its own Namespace",),
    ),
)
