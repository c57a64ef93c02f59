"""Random policies of every kind over a small cluster of two nodes, both IP versions and Services, as a scenario.

What is to come of its probes is what `verdict()` says, so they expect nothing here.
"""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

Json = dict[str, Any]  # Any: as YAML has it

PODS = [("x", "a", 1), ("x", "b", 2), ("y", "a", 2), ("y", "b", 1), ("z", "c", 1), ("z", "a", 2)]
"""Namespace, name and node."""

BLOCKS = [
    *("10.81.0.0/24", "10.82.0.0/25", "10.80.0.0/14", "0.0.0.0/0", "10.81.0.11/32", "10.82.0.12/31"),
    *("fd00:81::/64", "fd00:82::/64", "fd00:80::/28", "::/0", "fd00:81::11/128", "fd00:82::12/127"),
]
EXCEPTS = {"10.80.0.0/14": ["10.82.0.0/24"], "fd00:80::/28": ["fd00:82::/64"], "0.0.0.0/0": ["10.81.0.0/24"]}
TIERS = ["emergency", "securityops", "application", "baseline", ""]
PORTS: list[Json] = [
    *({"protocol": protocol, "port": port} for protocol in ("TCP", "UDP") for port in (80, 81)),
    *({"protocol": protocol} for protocol in ("TCP", "UDP", "SCTP")),
    {"protocol": "TCP", "port": "web"},
    {"port": 79, "endPort": 81},
    {"protocol": "UDP", "port": 81, "endPort": 1_000},
]

REQUESTS: list[Json] = [
    *({"http": http} for http in ({}, {"path": "/a/*"}, {"host": "*.foo.com", "method": "GET"}, {"path": "*/b"})),
    *({"tls": tls} for tls in ({}, {"sni": "a.foo.com"}, {"sni": "*.org"})),
]
ASKED: list[Json] = [
    *({"http": {"path": path, "host": host}} for path in ("/a/x", "/a/b", "/c") for host in ("x.foo.com", "y.org")),
    {"http": {"path": "/c", "host": "x.foo.com", "method": "POST"}},
    *({"tls": {"sni": sni}} for sni in ("a.foo.com", "y.org", "y.net")),
]


def pods() -> Iterator[Json]:
    for number, (of, name, node) in enumerate(PODS, start=11):
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": of, "labels": {"app": name, "who": f"{of}-{name}"}},
            "spec": {
                "nodeName": f"node-{node}",
                "containers": [
                    {"name": "c", "image": "c", "ports": [{"name": "web", "containerPort": 80}, {"containerPort": 81}]}
                ],
            },
            "status": {"podIPs": [{"ip": f"10.8{node}.0.{number}"}, {"ip": f"fd00:8{node}::{number}"}]},
        }


def cluster() -> list[Json]:
    nodes = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": f"node-{number}"},
            "spec": {"podCIDRs": [f"10.8{number}.0.0/24", f"fd00:8{number}::/64"]},
            "status": {"addresses": [{"type": "InternalIP", "address": f"172.30.0.{number}"}]},
        }
        for number in (1, 2)
    ]
    namespaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"env": env}}}
        for name, env in (("x", "prod"), ("y", "prod"), ("z", "test"))
    ]
    services = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": of},
            "spec": {
                "selector": {"who": f"{of}-{name}"},
                "ports": [{"name": "web", "port": 80}, {"name": "other", "port": 8080, "targetPort": 81}],
            },
        }
        for of, name, _ in PODS
    ]
    return [*nodes, *namespaces, *pods(), *services]


class Chance:
    """Pieces of policies; with `requests` rules look into them, and what goes by TCP is one."""

    def __init__(self, random: Random, *, requests: bool = False) -> None:
        self._random, self._requests = random, requests

    def some(self, make: Callable[[], Json], least: int, most: int) -> list[Json]:
        return [make() for _ in range(self._random.randint(least, most))]

    def pod_selector(self) -> Json:
        return self._random.choice(
            [
                {},
                *({"matchLabels": {"app": name}} for name in "abc"),
                {"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "c"]}]},
                {"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["b"]}]},
            ]
        )

    def namespace_selector(self) -> Json:
        return self._random.choice(
            [
                {},
                {"matchLabels": {"env": "prod"}},
                *({"matchLabels": {"kubernetes.io/metadata.name": name}} for name in "xyz"),
                {"matchExpressions": [{"key": "env", "operator": "DoesNotExist"}]},
            ]
        )

    def block(self) -> Json:
        cidr = self._random.choice(BLOCKS)
        excepts = EXCEPTS.get(cidr, [])
        return {"ipBlock": {"cidr": cidr, **({"except": excepts} if excepts and self._random.random() < 0.6 else {})}}

    def peer(self) -> Json:
        match self._random.randrange(4):
            case 0:
                return {"podSelector": self.pod_selector()}
            case 1:
                return {"namespaceSelector": self.namespace_selector()}
            case 2:
                return {"podSelector": self.pod_selector(), "namespaceSelector": self.namespace_selector()}
            case _:
                return self.block()

    def ports(self, *, named: bool) -> Json:
        """Of a port that has a name nobody knows the number where the peers are no Pods (docs/backends/ovs.md)."""
        choice = [port for port in PORTS if named or port.get("port") != "web"]
        return {"ports": self.some(lambda: self._random.choice(choice), 1, 2)} if self._random.random() < 0.6 else {}

    def netpol(self, number: int) -> Json:
        spec: Json = {"podSelector": self.pod_selector(), "policyTypes": []}
        for way, kind, peers in (("ingress", "Ingress", "from"), ("egress", "Egress", "to")):
            if self._random.random() < 0.6:
                spec["policyTypes"].append(kind)
                spec[way] = self.some(lambda peers=peers: self._allow(peers), 0, 2)  # type: ignore[misc]  # bound now
        return _object("networking.k8s.io/v1", "NetworkPolicy", f"np-{number}", spec, self._random.choice("xyz"))

    def _allow(self, peers: str) -> Json:
        chosen = {peers: self.some(self.peer, 1, 2)} if self._random.random() < 0.8 else {}
        return {**chosen, **self.ports(named=not any("ipBlock" in peer for peer in chosen.get("to", ())))}

    def antrea(self, number: int) -> Json:
        of = self._random.choice(["", "", *"xyz"])
        tier = self._random.choice(TIERS)
        spec: Json = {"priority": self._random.randint(1, 9), **({"tier": tier} if tier else {})}
        wide = of == ""

        def applied() -> Json:
            chosen: Json = {"podSelector": self.pod_selector()}
            return {**chosen, **({"namespaceSelector": self.namespace_selector()} if wide else {})}

        by_rule = self._random.random() < 0.3
        if not by_rule:
            spec["appliedTo"] = self.some(applied, 1, 2)
        for way in ("ingress", "egress"):
            rules = self.some(lambda way=way: self._rule(way, tier), 0, 3)  # type: ignore[misc]  # bound now
            if rules:
                spec[way] = [
                    {"name": f"{way}-{index}", **rule, **({"appliedTo": self.some(applied, 1, 1)} if by_rule else {})}
                    for index, rule in enumerate(rules)
                ]
        if not spec.keys() & {"ingress", "egress"}:
            spec["ingress"] = [{"action": "Drop", **({"appliedTo": [applied()]} if by_rule else {})}]
        kind = "ClusterNetworkPolicy" if wide else "NetworkPolicy"
        return _object("crd.antrea.io/v1beta1", kind, f"{kind.lower()}-{number}", spec, of)

    def _rule(self, way: str, tier: str) -> Json:
        if self._requests and self._random.random() < 0.4:
            return self._judged(way)
        actions = ["Allow", "Drop", "Reject"] + (["Pass"] if tier != "baseline" else [])
        rule: Json = {"action": self._random.choice(actions)}
        if way == "egress" and self._random.random() < 0.25:
            of, name, _ = self._random.choice(PODS)
            return {**rule, "toServices": [{"name": name, "namespace": of}]}
        if self._random.random() < 0.8:
            rule["from" if way == "ingress" else "to"] = self.some(self.peer, 1, 2)
        if self._random.random() < 0.2:
            return {
                **rule,
                "protocols": [self._random.choice([{"icmp": {}}, *({"icmp": {"icmpType": n}} for n in (8, 128))])],
            }
        return {**rule, **self.ports(named=not any("ipBlock" in peer for peer in rule.get("to", ())))}

    def _judged(self, way: str) -> Json:
        rule: Json = {"action": "Allow", "l7Protocols": self._random.sample(REQUESTS, self._random.randint(1, 3))}
        if self._random.random() < 0.8:
            rule["from" if way == "ingress" else "to"] = self.some(self.peer, 1, 2)
        if self._random.random() < 0.4:
            rule["ports"] = [{"protocol": "TCP", "port": self._random.choice([80, 81])}]
        return rule

    def probe(self) -> Json:
        """A packet, or what is asked by TCP."""
        made = self._probe()
        if self._requests and made.get("protocol", "TCP") == "TCP":
            made |= self._random.choice(ASKED)
        return made

    def _probe(self) -> Json:
        (of, name, _), (to_of, to, _) = self._random.choice(PODS), self._random.choice(PODS)
        asked: Json = {"from": f"{of}/{name}", "family": self._random.choice(["IPv4", "IPv6"]), "expect": "Allowed"}
        if self._random.random() < 0.3:
            return {**asked, "to": f"svc:{to_of}/{to}", "port": self._random.choice([80, 8080])}
        if (of, name) == (to_of, to):
            return self._probe()
        protocol = self._random.choice(["TCP", "TCP", "UDP", "ICMP"])
        port = {} if protocol == "ICMP" else {"port": self._random.choice([80, 81])}
        return {**asked, "to": f"{to_of}/{to}", "protocol": protocol, **port}


def _object(version: str, kind: str, name: str, spec: Json, of: str) -> Json:
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": name, **({"namespace": of} if of else {})},
        "spec": spec,
    }


def scenario(seed: int, steps: int, probes: int, *, requests: bool = False) -> Json:
    """Policies come, are written anew and go; after each step so many packets are sent."""
    random = Random(seed)  # the same each time
    chance = Chance(random, requests=requests)
    held: dict[str, Json] = {}
    told = []
    for number in range(steps):
        gone = [name for name in sorted(held) if random.random() < 0.25]
        leaving = [held.pop(name) for name in gone]
        made = [chance.netpol(10 * number + each) for each in range(random.randint(1, 2))]
        made += [chance.antrea(10 * number + each) for each in range(random.randint(1, 3))]
        held |= {_key(each): each for each in made}
        told.append(
            {
                "name": f"step {number}",
                "delete": [
                    {"apiVersion": each["apiVersion"], "kind": each["kind"], **each["metadata"]} for each in leaving
                ],
                "apply": made,
                "probes": [chance.probe() for _ in range(probes)],
            }
        )
    return {
        "apiVersion": "lab.sluice.dev/v1",
        "kind": "Scenario",
        "metadata": {"name": f"random-{seed}"},
        "spec": {"nodes": ["node-1", "node-2"], "objects": cluster(), "steps": told},
    }


def _key(made: Json) -> str:
    return f"{made['kind']} {made['metadata'].get('namespace', '')}/{made['metadata']['name']}"
