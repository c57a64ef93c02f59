"""Random stories about all that policies can name, in a cluster that changes: see `randomly` for what they are for.

Pods move, take each other's addresses or have other labels, ports and accounts; Namespaces, Nodes and Services change,
groups and tiers come and go.
"""

from copy import deepcopy
from random import Random

from tests.e2e.held import Held, Json, Key, made
from tests.e2e.randomly import ASKED
from tests.e2e.widely import ANTREA, CUSTOM, PODS, Wide

NODES = (1, 2)
EXTERNALS = [{"name": "near", "ip": "192.0.2.10"}, {"name": "far", "ip": "2001:db8::10"}]


class Changing(Wide):
    """Pieces of the cluster, and what happens in it."""

    def __init__(self, random: Random, *, requests: bool = False) -> None:
        super().__init__(random, requests=requests)
        self._sent = 0
        self._addresses = 10

    # ------------------------------------------------------------------------------------------------------- cluster

    def labels(self) -> Json:
        return {
            key: value
            for key, values in (("app", "abc"), ("role", ["web", ""]))
            if (value := self.pick([*values, None])) is not None
        }

    def pod(self, of: str, name: str, *, node: int | None = None, addresses: list[str] | None = None) -> Json:
        node = node or self.pick(NODES)
        if addresses is None:
            self._addresses += 1
            range_ = self.pick([node, node, 3 - node])
            addresses = [f"10.8{range_}.0.{self._addresses}", f"fd00:8{range_}::{self._addresses:x}"]
        named = self.pick([80, 80, 81, "UDP"])
        ports: list[Json] = [{"containerPort": 80}, {"containerPort": 81}, {"containerPort": 81, "protocol": "UDP"}]
        for port in ports:
            if named == port.get("protocol", port["containerPort"]):
                port["name"] = "web"
        spec: Json = {"nodeName": f"node-{node}", "containers": [{"name": "c", "image": "c", "ports": ports}]}
        if self.chance(0.4):
            spec["serviceAccountName"] = self.pick(["robot", "default"])
        meta = {"labels": {**self.labels(), "who": f"{of}-{name}"}}
        return made(
            "v1", "Pod", name, of, meta=meta, spec=spec, status={"podIPs": [{"ip": each} for each in addresses]}
        )

    def namespace(self, name: str) -> Json:
        labels = {
            key: value
            for key, values in (("env", ["prod", "test", ""]), ("org", ["one", "two"]))
            if (value := self.pick([*values, None])) is not None
        }
        notes = {"networkpolicy.antrea.io/enable-logging": "true"} if self.chance(0.3) else {}
        return made("v1", "Namespace", name, meta={"labels": labels, "annotations": notes})

    def node(self, number: int) -> Json:
        labels = {"zone": self.pick(["east", "west"])} if self.chance(0.8) else {}
        return made(
            "v1",
            "Node",
            f"node-{number}",
            meta={"labels": labels},
            spec={"podCIDRs": [f"10.8{number}.0.0/24", f"fd00:8{number}::/64"]},
            status={
                "addresses": [
                    {"type": "InternalIP", "address": each} for each in (f"172.30.0.{number}", f"fd00:30::{number}")
                ]
            },
        )

    def service(self, of: str, name: str) -> Json:
        spec: Json = {
            "selector": {"who": f"{of}-{name}"},
            "type": self.pick(["NodePort", "NodePort", "ClusterIP"]),
            "ports": [
                {"name": "web", "port": 80, "targetPort": self.pick(["web", 80])},
                {"name": "other", "port": 8080, "targetPort": 81},
                {"name": "udp", "port": 80, "targetPort": 81, "protocol": "UDP"},
            ],
        }
        if self.chance(0.2):
            spec["sessionAffinity"] = "ClientIP"
        if spec["type"] == "NodePort" and self.chance(0.3):
            spec["externalTrafficPolicy"] = "Local"
        if self.chance(0.1):
            spec["internalTrafficPolicy"] = "Local"
        return made("v1", "Service", name, of, spec=spec)

    def chosen(self, of: str) -> Json:
        """A Service that groups refer to."""
        selector = self.pick([{"app": "a"}, {"role": "web"}, {"app": "b", "role": "web"}, {}])
        return made("v1", "Service", "chosen", of, spec={"selector": selector, "ports": [{"port": 80}]})

    def begin(self, held: Held) -> None:
        assert held.put(*(self.node(number) for number in NODES))
        assert held.put(*(self.namespace(name) for name in "xyzwh"))
        assert held.put(*(self.pod(of, name) for of, name in PODS))
        for number in NODES:
            ports = [{"containerPort": 80}, {"containerPort": 81}]
            spec = {
                "nodeName": f"node-{number}",
                "hostNetwork": True,
                "containers": [{"name": "c", "image": "c", "ports": ports}],
            }
            assert held.put(made("v1", "Pod", f"host-{number}", "h", spec=spec))
        assert held.put(*(self.service(of, name) for of, name in PODS))
        assert held.put(*(self.chosen(of) for of in "xyz"))

    # --------------------------------------------------------------------------------------------------------- whom

    def change(self, held: Held, number: int) -> None:
        """What happens in a step, before its packets."""
        for key in sorted(held.manifests):
            kind = key[0].split()[1]
            going = {"ClusterGroup": 0.1, "Group": 0.1, "Tier": 0.3}.get(kind, 0.2 if kind.endswith("Policy") else 0)
            if going and self.chance(going):
                held.drop(key)
        for name, priorities in CUSTOM.items():
            if self.chance(0.5):
                held.put(made(ANTREA, "Tier", name, spec={"priority": self.pick(priorities)}))
        for _ in range(self._random.randint(1, 4)):
            held.put(self.group(self.pick(["", "", *"xyz"])))
        for _ in range(self._random.randint(0, 3) if number else 0):
            self.pick(
                [
                    self._relabel,
                    self._relabel,
                    self._move,
                    self._swap,
                    self._namespace,
                    self._node,
                    self._service,
                    self._leave,
                ]
            )(held)
        for each in range(self._random.randint(1, 2)):
            held.put(self.netpol(10 * number + each))
        for each in range(self._random.randint(2, 5)):
            held.put(self.policy(10 * number + each))
        for key in sorted(held.manifests):
            if key[0].endswith("Policy") and self.chance(0.15):
                self._edit(held, key)

    def _edit(self, held: Held, key: Key) -> None:
        """The policy is written anew, a little differently."""
        one = deepcopy(held.manifests[key])
        rules = [rule for way in ("ingress", "egress") for rule in one["spec"].get(way, ())]
        if key[0].startswith(ANTREA):
            one["spec"]["priority"] = self.pick([1, 3, 5])
            for rule in rules:
                if self.chance(0.5) and "l7Protocols" not in rule:
                    rule["action"] = self.action(one["spec"].get("tier", ""))
        elif rules and self.chance(0.5):
            self.pick(rules).pop("ports", None)
        held.put(one)

    def _pod(self, held: Held) -> Json:
        return deepcopy(
            self.pick([one for key, one in sorted(held.manifests.items()) if key[0] == "v1 Pod" and key[1] != "h"])
        )

    def _relabel(self, held: Held) -> None:
        one = self._pod(held)
        one["metadata"]["labels"] = {**self.labels(), "who": one["metadata"]["labels"]["who"]}
        held.put(one)

    def _move(self, held: Held) -> None:
        meta = self._pod(held)["metadata"]
        held.put(self.pod(meta["namespace"], meta["name"]))

    def _swap(self, held: Held) -> None:
        """On one node: a lab does not tell what is left of an address that moved on from one that it has elsewhere."""
        one, other = self._pod(held), self._pod(held)
        if one != other and one["spec"]["nodeName"] == other["spec"]["nodeName"]:
            one["status"], other["status"] = other["status"], one["status"]
            held.put(one, other)

    def _leave(self, held: Held) -> None:
        """A Pod goes, and comes back in a later step."""
        key = "v1 Pod", "w", "d"
        if key in held.manifests:
            held.drop(key)
        else:
            held.put(self.pod("w", "d"))

    def _namespace(self, held: Held) -> None:
        held.put(self.namespace(self.pick("xyzw")))

    def _node(self, held: Held) -> None:
        held.put(self.node(self.pick(NODES)))

    def _service(self, held: Held) -> None:
        held.put(self.pick([lambda: self.chosen(self.pick("xyz")), lambda: self.service(*self.pick(PODS))])())

    # -------------------------------------------------------------------------------------------------------- packets

    def asked(self, held: Held) -> Json:
        """A packet between ends that there are, sent from a port that none was sent from before."""
        family = self.pick(["IPv4", "IPv6"])
        outside = "external:near" if family == "IPv4" else "external:far"
        pods = [f"{key[1]}/{key[2]}" for key in sorted(held.manifests) if key[0] == "v1 Pod" and key[1] != "h"]
        services = [one for key, one in sorted(held.manifests.items()) if key[0] == "v1 Service" and key[2] != "chosen"]
        source = self.pick([*pods, *pods, outside, "node:node-1", "node:node-2"])
        protocol = self.pick(["TCP", "TCP", "UDP", "SCTP", "ICMP"])
        probe: Json = {"from": source, "family": family, "expect": "Allowed", "protocol": protocol}
        what = self._random.random()
        if what < 0.25 and protocol in ("TCP", "UDP"):
            service = self.pick(services)
            name = f"{service['metadata']['namespace']}/{service['metadata']['name']}"
            port: Json = {"port": 80 if protocol == "UDP" else self.pick([80, 8080])}
            if (
                service["spec"]["type"] == "NodePort"
                and source in (outside, *pods)
                and self.chance(0.5)
                and protocol == "TCP"
            ):
                probe |= {"to": f"nodeport:{name}@node-{self.pick(NODES)}"}
            elif source in pods:
                probe |= {"to": f"svc:{name}", **port}
            else:
                return self.asked(held)
        else:
            to = self.pick([*pods, *pods, outside, "node:node-1", "node:node-2"])
            if to == source or (source not in pods and to not in pods):
                return self.asked(held)
            probe["to"] = to
            if protocol == "ICMP":
                if to in pods and self.chance(0.3):
                    probe["icmp"] = {"type": 128 if family == "IPv6" else self.pick([8, 13])}
                return probe
            probe["port"] = self.pick([80, 81])
        self._sent += 1
        probe["sourcePort"] = 2_000 + self._sent
        if self._requests and protocol == "TCP":
            probe |= self.pick(ASKED)
        return probe


def scenario(seed: int, steps: int, probes: int, *, requests: bool = False) -> Json:
    """The cluster changes, and after each step so many packets are sent."""
    return story(f"wide-{seed}", Changing(Random(f"wide {seed}"), requests=requests), steps, probes)


def story(name: str, chance: Changing, steps: int, probes: int) -> Json:
    """What happens to be changed and sent, as a scenario of this name."""
    held = Held()
    chance.begin(held)
    objects, _ = held.told()
    told = []
    for number in range(steps):
        chance.change(held, number)
        apply, delete = held.told()
        told.append(
            {
                "name": f"step {number}",
                "delete": delete,
                "apply": apply,
                "probes": [chance.asked(held) for _ in range(probes)],
            }
        )
    return {
        "apiVersion": "lab.sluice.dev/v1",
        "kind": "Scenario",
        "metadata": {"name": name},
        "spec": {"nodes": ["node-1", "node-2"], "externals": EXTERNALS, "objects": objects, "steps": told},
    }
