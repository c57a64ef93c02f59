"""Pieces of policies about all that they can name: see `changing`.

Groups within groups, Namespaces alike and the same, ServiceAccounts, Nodes, Services and their NodePorts, tiers that
come and go, ports of senders and messages of ICMP.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from tests.e2e.held import Json, made
from tests.e2e.randomly import BLOCKS, EXCEPTS, Chance

T = TypeVar("T")

ANTREA = "crd.antrea.io/v1beta1"
PODS = [("x", "a"), ("x", "b"), ("y", "a"), ("y", "b"), ("z", "c"), ("z", "a"), ("w", "d")]
"""Namespace and name."""

GROUPS = ["g-1", "g-2", "g-3", "g-4"]
CUSTOM = {"upper": [20, 60], "lower": [220, 240]}
"""Tiers that come and go, and the priorities that they may have."""

TIERS = ["emergency", "securityops", "application", "baseline", "", "SecurityOps", *CUSTOM]
PORTS: list[Json] = [
    *({"protocol": protocol, "port": port} for protocol in ("TCP", "UDP", "SCTP") for port in (80, 81)),
    *({"protocol": protocol} for protocol in ("TCP", "UDP", "SCTP")),
    {"protocol": "TCP", "port": "web"},
    {"protocol": "UDP", "port": "web"},
    {"protocol": "SCTP", "port": "none"},
    {"port": 79, "endPort": 80},
    {"port": 1, "endPort": 65535},
    {"protocol": "UDP", "port": 81, "endPort": 1_000},
    {"protocol": "SCTP", "port": 64, "endPort": 80},
]
SENDERS: list[Json] = [
    {
        "protocol": protocol,
        "sourcePort": first,
        **({"sourceEndPort": last} if last else {}),
        **({"port": to} if to else {}),
    }
    for protocol in ("TCP", "UDP", "SCTP")
    for first, last, to in (
        (2_000, 2_063, 0),
        (2_030, 2_100, 80),
        (2_001, 65_535, 0),
        (2_050, 0, 81),
        (2_010, 2_500, 0),
    )
]
MESSAGES: list[Json] = [
    {"icmp": {}},
    *({"icmp": {"icmpType": kind}} for kind in (8, 13, 128)),
    *({"icmp": {"icmpType": kind, "icmpCode": code}} for kind in (8, 128) for code in (0, 1)),
    {"icmp": {"icmpCode": 0}},
]
MORE_BLOCKS = [*BLOCKS, "192.0.2.0/24", "172.30.0.0/24", "2001:db8::/32", "fd00:30::/64", "10.64.0.0/10", "8000::/1"]
MORE_EXCEPTS = {
    **EXCEPTS,
    "10.81.0.0/24": ["10.81.0.1/32", "10.81.0.12/30", "10.81.0.16/28"],
    "::/0": ["fd00:81::/65", "2001:db8::10/128"],
    "192.0.2.0/24": ["192.0.2.10/31"],
    "fd00:30::/64": ["fd00:30::2/128"],
}


class Wide(Chance):
    def pick(self, among: Sequence[T]) -> T:
        return self._random.choice(among)

    def chance(self, share: float) -> bool:
        return self._random.random() < share

    def pod_selector(self) -> Json:
        return self.pick(
            [
                {},
                *({"matchLabels": {"app": name}} for name in "abc"),
                {"matchLabels": {"role": ""}},
                {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "c"]}]},
                {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["b"]}]},
                {"matchExpressions": [{"key": "role", "operator": "Exists"}], "matchLabels": {"app": "a"}},
                {"matchExpressions": [{"key": "role", "operator": "DoesNotExist"}]},
                {"matchLabels": {"who": "-".join(self.pick(PODS))}},
            ]
        )

    def namespace_selector(self) -> Json:
        return self.pick(
            [
                {},
                {"matchLabels": {"env": "prod"}},
                {"matchLabels": {"env": ""}},
                *({"matchLabels": {"kubernetes.io/metadata.name": name}} for name in "xyzw"),
                {"matchLabels": {"antrea.io/metadata.name": "x"}},
                {"matchExpressions": [{"key": "env", "operator": "DoesNotExist"}]},
                {
                    "matchExpressions": [
                        {"key": "org", "operator": "Exists"},
                        {"key": "env", "operator": "NotIn", "values": ["test"]},
                    ]
                },
            ]
        )

    def node_selector(self) -> Json:
        return self.pick(
            [{}, {"matchLabels": {"zone": "east"}}, {"matchExpressions": [{"key": "zone", "operator": "DoesNotExist"}]}]
        )

    def block(self) -> Json:
        return {"ipBlock": self.cidr()}

    def cidr(self) -> Json:
        cidr = self.pick(MORE_BLOCKS)
        excepts = MORE_EXCEPTS.get(cidr, [])
        return {"cidr": cidr, **({"except": excepts} if excepts and self.chance(0.6) else {})}

    def account(self) -> Json:
        return {"serviceAccount": {"name": self.pick(["robot", "default"]), "namespace": self.pick("xyz")}}

    def antrea_peer(self, *, wide: bool) -> Json:
        kinds: list[Callable[[], Json]] = [
            self.peer,
            self.peer,
            lambda: {"group": self.pick(GROUPS)},
            lambda: {"nodeSelector": self.node_selector()},
        ]
        if wide:
            kinds += [self.account, self.relative, self.relative]
        return self.pick(kinds)()

    def relative(self) -> Json:
        where = self.pick(
            [{"match": "Self"}, {"sameLabels": ["env"]}, {"sameLabels": ["org", "env"]}, {"sameLabels": ["org"]}]
        )
        return {"namespaces": where, **({"podSelector": self.pod_selector()} if self.chance(0.5) else {})}

    def applied(self, *, wide: bool) -> Json:
        kinds: list[Callable[[], Json]] = [lambda: {"podSelector": self.pod_selector()}] * 3
        kinds.append(lambda: {"group": self.pick(GROUPS[:3])})
        if wide:
            kinds += [
                lambda: {"podSelector": self.pod_selector(), "namespaceSelector": self.namespace_selector()},
                lambda: {"namespaceSelector": self.namespace_selector()},
                self.account,
            ]
        return self.pick(kinds)()

    def group(self, of: str) -> Json:
        name = self.pick(GROUPS)
        ways: list[Callable[[], Json]] = [
            lambda: {"podSelector": self.pod_selector()},
            lambda: {"podSelector": self.pod_selector(), "namespaceSelector": self.namespace_selector()},
            lambda: {"namespaceSelector": self.namespace_selector()},
            lambda: {"ipBlocks": self.some(self.cidr, 1, 3)},
            lambda: {"serviceReference": {"name": "chosen", "namespace": of or self.pick("xyz")}},
            lambda: {"childGroups": self._random.sample(GROUPS, self._random.randint(1, 2))},
        ]
        if not of and name == GROUPS[3]:  # which no policy is applied to
            ways.append(lambda: {"nodeSelector": self.node_selector()})
        return made(ANTREA, "Group" if of else "ClusterGroup", name, of, spec=self.pick(ways)())

    # ------------------------------------------------------------------------------------------------------ policies

    def ports(self, *, named: bool, senders: bool = False) -> Json:
        choice = [port for port in PORTS if named or not isinstance(port.get("port"), str)]
        choice += SENDERS if senders else []
        return {"ports": self.some(lambda: self.pick(choice), 1, 3)} if self.chance(0.6) else {}

    def _allow(self, peers: str) -> Json:
        chosen = {peers: self.some(self.peer, 1, 3)} if self.chance(0.8) else {}
        return {**chosen, **self.ports(named=not any("ipBlock" in peer for peer in chosen.get("to", ())))}

    def netpol(self, number: int) -> Json:
        one = super().netpol(number)
        if self.chance(0.2):
            del one["spec"]["policyTypes"]
            if not one["spec"].get("egress"):
                one["spec"].pop("egress", None)
        one["metadata"]["namespace"] = self.pick("xyzw")
        return self.noted(one)

    def noted(self, one: Json) -> Json:
        if self.chance(0.15):
            one["metadata"]["annotations"] = {"policy.sluice.dev/established": "end"}
        return one

    def policy(self, number: int) -> Json:
        of = self.pick(["", "", *"xyz"])
        tier = self.pick(TIERS)
        wide = of == ""
        spec: Json = {"priority": self.pick([1, 1.5, 2, 5, 9.999, 10000]), **({"tier": tier} if tier else {})}
        kind = "ClusterNetworkPolicy" if wide else "NetworkPolicy"
        name = f"{kind.lower()}-{number}"
        if wide and self.chance(0.12):
            service = self.pick(PODS)
            spec["appliedTo"] = [{"service": {"namespace": service[0], "name": service[1]}}]
            spec["ingress"] = self.some(lambda: self._door(tier), 1, 3)
            return self.noted(made(ANTREA, kind, name, of, spec=spec))
        by_rule = self.chance(0.3)
        if not by_rule:
            spec["appliedTo"] = self.some(lambda: self.applied(wide=wide), 1, 3)
        for way in ("ingress", "egress"):
            rules = self.some(lambda way=way: self.rule(way, tier, wide=wide), 0, 4)  # type: ignore[misc]  # bound now
            if rules:
                spec[way] = [
                    {
                        "name": f"{way}-{index}",
                        **rule,
                        **({"appliedTo": self.some(lambda: self.applied(wide=wide), 1, 2)} if by_rule else {}),
                    }
                    for index, rule in enumerate(rules)
                ]
        if not spec.keys() & {"ingress", "egress"}:
            spec["ingress"] = [{"action": "Drop", **({"appliedTo": [self.applied(wide=wide)]} if by_rule else {})}]
        return self.noted(made(ANTREA, kind, name, of, spec=spec))

    def action(self, tier: str) -> str:
        return self.pick(["Allow", "Allow", "Drop", "Reject", "Deny"] + (["Pass"] if tier != "baseline" else []))

    def _door(self, tier: str) -> Json:
        rule: Json = {"action": self.action(tier)}
        if self.chance(0.7):
            rule["from"] = self.some(self.block, 1, 2)
        return {**rule, **self.ports(named=False, senders=True)}

    def rule(self, way: str, tier: str, *, wide: bool) -> Json:
        if self._requests and self.chance(0.4):
            return self._judged(way)
        rule: Json = {"action": self.action(tier), "enableLogging": self.chance(0.2)}
        if way == "egress" and self.chance(0.2):
            chosen = self._random.sample(PODS, self._random.randint(1, 2))
            return {**rule, "toServices": [{"name": name, "namespace": of} for of, name in chosen]}
        field = "from" if way == "ingress" else "to"
        if self.chance(0.8):
            rule[field] = self.some(lambda: self.antrea_peer(wide=wide), 1, 3)
        known = way == "ingress" or all(
            peer.keys() & {"podSelector", "namespaceSelector", "namespaces", "serviceAccount"}
            for peer in rule.get(field, ())
        )
        if self.chance(0.2):
            rule["protocols"] = self.some(lambda: self.pick(MESSAGES), 1, 2)
            if self.chance(0.6):
                return rule
        return {**rule, **self.ports(named=known, senders=True)}

    # -------------------------------------------------------------------------------------------------------- change
