"""Scheduler and kubelet of the lab: what objects become."""

from collections.abc import Iterable
from itertools import count

import msgspec
import pytest

from sluice.contracts.ids import Address
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import Namespace, Node, Pod
from sluice.contracts.services import EndpointSlice, Service
from sluice.drivers.veth import mac_of
from sluice.kube.manifest import Document
from sluice.lab import services
from sluice.lab.world import Key, NotPlaceable, World
from sluice.testkit.manifests import read
from sluice.testkit.work import work


def new_world(*nodes: str) -> World:
    numbers, times = count(1), count(1)
    return World(nodes or ("node-1",), lambda: f"uid-{next(numbers)}", lambda: f"time-{next(times)}")


SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: web, namespace: x}
spec: {selector: {app: a}, ports: [{port: 80}]}
"""


def pod(name: str, spec: str = "{}", status: str = "{}", metadata: str = "") -> Document:
    (document,) = read(
        f"{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: x{metadata}}}, spec: {spec}, "
        f"status: {status}}}"
    )
    return document


def test_pods_are_spread_in_order_and_get_addresses() -> None:
    world = new_world("n1", "n2")
    for name in "abc":
        world.put(pod(name))

    assert [(each.pod, each.node, each.addresses) for each in world.pods().values()] == [
        ("x/a", "n1", ("10.64.0.2",)),
        ("x/b", "n2", ("10.64.16.2",)),
        ("x/c", "n1", ("10.64.0.3",)),
    ]


def test_what_is_given_is_kept() -> None:
    world = new_world("n1", "n2")
    world.put(pod("a", "{nodeName: n2}", "{podIPs: [{ip: 10.9.9.9}, {ip: 'FD00::0:9'}]}", ", uid: mine"))

    (placed,) = world.pods().values()
    assert (placed.node, placed.addresses, placed.uid) == ("n2", ("10.9.9.9", "fd00::9"), "mine")
    stored = msgspec.json.decode(world.bodies[Key(Kind.POD, "x", "a")], type=Pod)
    assert (stored.node, stored.addresses, stored.uid, stored.status.phase) == (
        "n2",
        ("10.9.9.9", "fd00::9"),
        "mine",
        "Running",
    )


def test_an_address_in_use_is_not_given_out() -> None:
    world = new_world()
    world.put(pod("a", status="{podIP: 10.64.0.2}"))
    world.put(pod("b"))

    assert world.pods()["x/b"].addresses == ("10.64.0.3",)


def test_endpoints_are_derived_when_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, slices = [], services.slices

    def counted(service: Service, pods: list[Pod]) -> Iterable[EndpointSlice]:
        asked.append(pods)
        return slices(service, pods)

    monkeypatch.setattr(services, "slices", counted)
    (web,) = read(SERVICE)
    world, one_by_one = new_world(), new_world()

    for each in (web, pod("a", metadata=", labels: {app: a}"), pod("b", metadata=", labels: {app: a}")):
        world.put(each)
    assert asked == []

    assert {key.kind for key in world.objects} >= {Kind.ENDPOINT_SLICE}
    assert world.bodies.keys() == world.objects.keys()
    (pods,) = asked
    assert [each.metadata.name for each in pods] == ["a", "b"]
    for each in (pod("a", metadata=", labels: {app: a}"), pod("b", metadata=", labels: {app: a}"), web):
        one_by_one.put(each)
        assert one_by_one.objects
    assert world.objects.keys() == one_by_one.objects.keys()


def test_a_scenario_of_twice_the_objects_is_twice_the_work() -> None:
    def played(count: int) -> None:
        world = new_world()
        for number in range(count):
            world.put(service(f"s{number}", f"{{selector: {{app: a{number}}}, ports: [{{port: 80}}]}}"))
            world.put(pod(f"p{number}", metadata=f", labels: {{app: a{number}}}"))
        assert len(world.objects) == 3 * count + 2

    played(2)

    assert work(lambda: played(40)) < 2.3 * work(lambda: played(20))


def test_endpoints_that_were_deleted_come_again_as_in_a_cluster() -> None:
    world = new_world()
    (web,) = read(SERVICE)
    world.put(web)
    world.put(pod("a", metadata=", labels: {app: a}"))
    key = world.find("EndpointSlice", "x", "web-0")

    world.remove(key)
    assert key in world.objects

    world.remove(key)
    world.remove(world.find("Service", "x", "web"))
    assert key not in world.objects


def test_declared_ports_are_served_whatever_their_container() -> None:
    world = new_world()
    world.put(
        pod(
            "a",
            "{containers: [{ports: [{containerPort: 81}, {containerPort: 80}]}, "
            "{ports: [{containerPort: 53, protocol: UDP}, {containerPort: 9, protocol: SCTP}]}]}",
        )
    )

    assert world.pods()["x/a"].ports == (9, 53, 80, 81)


CHANGES = [
    ("labels", pod("a", metadata=", labels: {l: v}"), True),
    ("the same", pod("a"), True),
    ("address", pod("a", status="{podIP: 10.1.1.1}"), False),
    ("ports", pod("a", "{containers: [{ports: [{containerPort: 80}]}]}"), False),
    ("node", pod("a", "{nodeName: n2}"), False),
    ("host network", pod("a", "{hostNetwork: true}"), False),
    ("uid", pod("a", metadata=", uid: other"), False),
]


@pytest.mark.parametrize(("name", "after", "same"), CHANGES, ids=[name for name, _, _ in CHANGES])
def test_a_pod_lives_on_unless_its_sandbox_changes(name: str, after: Document, same: bool) -> None:
    world = new_world("n1", "n2")
    world.put(pod("a"))
    before = world.pods()["x/a"]
    world.put(after)

    assert (world.pods()["x/a"] == before) is same
    assert (world.pods()["x/a"].uid == before.uid) is same


def test_of_two_pods_the_later_is_younger() -> None:
    world = new_world()
    for name in "ab":
        world.put(pod(name, status="{podIP: 10.1.1.1}"))

    born = [world.objects[Key(Kind.POD, "x", name)].object.metadata.creation_timestamp for name in "ab"]
    assert born == ["time-1", "time-2"]


def test_pods_that_have_ended_do_not_run() -> None:
    world = new_world()
    world.put(pod("a", status="{phase: Succeeded}"))

    assert world.pods() == {}
    assert Key(Kind.POD, "x", "a") in world.bodies


def test_namespaces_come_into_being_and_take_all_with_them() -> None:
    world = new_world()
    world.put(pod("a"))
    implied = world.objects[Key(Kind.NAMESPACE, "", "x")].object
    assert isinstance(implied, Namespace)
    assert implied.metadata.labels == {"kubernetes.io/metadata.name": "x", "antrea.io/metadata.name": "x"}

    world.put(read("{apiVersion: v1, kind: Namespace, metadata: {name: x, labels: {a: b}}}")[0])
    assert world.objects[Key(Kind.NAMESPACE, "", "x")].object.metadata.labels["a"] == "b"

    world.remove(world.find("Namespace", "", "x"))
    assert [key.kind for key in world.bodies] == [Kind.NODE]


def test_nodes_have_addresses_and_a_range() -> None:
    world = new_world("n1", "n2")
    world.put(read("{apiVersion: v1, kind: Node, metadata: {name: n2}, spec: {podCIDR: 10.7.0.0/29}}")[0])

    nodes = [document.object for document in world.objects.values() if isinstance(document.object, Node)]
    assert [(node.metadata.name, node.spec.pod_cidr, node.status.addresses[0].address) for node in nodes] == [
        ("n1", "10.64.0.0/20", "192.168.77.10"),
        ("n2", "10.7.0.0/29", "192.168.77.11"),
    ]


def test_a_range_ends() -> None:
    world = new_world()
    world.put(read("{apiVersion: v1, kind: Node, metadata: {name: node-1}, spec: {podCIDR: 10.7.0.0/29}}")[0])
    for name in "abcde":
        world.put(pod(name))

    with pytest.raises(NotPlaceable, match=r"node node-1: no address is left in 10\.7\.0\.0/29"):
        world.put(pod("f"))


def test_a_freed_address_is_not_given_out_again_at_once() -> None:
    world = new_world()
    world.put(pod("a"))
    world.remove(world.find("Pod", "x", "a"))
    world.put(pod("a"))

    assert world.pods()["x/a"].addresses == ("10.64.0.3",)


def test_a_pod_on_the_hosts_network_has_the_nodes_address() -> None:
    world = new_world()
    world.put(pod("a", "{hostNetwork: true}"))

    assert world.pods()["x/a"].addresses == ("192.168.77.10",)


def test_later_nodes_have_ranges_and_addresses_of_their_own() -> None:
    world = new_world(*(f"n{number:04}" for number in range(1_100)))
    nodes = [world.node(name) for name in world.nodes]

    assert {len({one.spec.pod_cidr for one in nodes}), len({one.status.addresses for one in nodes})} == {1_100}
    assert nodes[1].spec.pod_cidr == "10.64.16.0/20"
    assert (nodes[1_024].spec.pod_cidr, nodes[300].status.addresses[0].address) == ("10.128.0.0/20", "192.168.78.54")


def test_what_is_behind_nodes_is_told_for_all_at_once() -> None:
    world = new_world("n1", "n2")
    for each in (
        pod("a"),
        pod("stray", "{nodeName: n2}", "{podIP: 10.1.1.1}"),
        pod("ended", "{nodeName: n2}", "{podIP: 10.1.1.2, phase: Failed}"),
        pod("host", "{nodeName: n2, hostNetwork: true}"),
    ):
        world.put(each)

    assert world.behind() == {"n1": {"10.64.0.0/20"}, "n2": {"10.64.16.0/20", "10.1.1.1/32"}}


def service(name: str, spec: str) -> Document:
    (document,) = read(f"{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: x}}, spec: {spec}}}")
    return document


def served(world: World, name: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    found = world.objects[Key(Kind.SERVICE, "x", name)].object
    assert isinstance(found, Service)
    return found.spec.cluster_ips, tuple(port.node_port for port in found.spec.ports)


def test_services_get_the_first_free_addresses_and_ports() -> None:
    world = new_world()
    two = "{type: NodePort, ports: [{name: a, port: 80}, {name: b, port: 81}]}"
    for each in (
        service("own", "{type: NodePort, clusterIP: 10.96.0.11, ports: [{port: 80, nodePort: 30001}]}"),
        service("a", two),
        service("b", two),
    ):
        world.put(each)
    assert served(world, "a") == (("10.96.0.10",), (30_000, 30_002))
    assert served(world, "b") == (("10.96.0.12",), (30_003, 30_004))

    world.put(service("b", two))  # the same again
    assert served(world, "b") == (("10.96.0.12",), (30_003, 30_004))
    world.remove(world.find("Service", "x", "a"))
    world.put(service("c", two))
    assert served(world, "c") == (("10.96.0.10",), (30_000, 30_002))


def test_services_without_a_port_left_are_refused() -> None:
    world = new_world()
    ports = ", ".join(f"{{name: p{number}, port: {number}}}" for number in range(1, 2_768))
    world.put(service("a", f"{{type: NodePort, ports: [{ports}]}}"))
    world.put(service("b", "{type: NodePort, ports: [{port: 80}]}"))

    with pytest.raises(NotPlaceable, match="Service x/c: no NodePort is left from 30000 to 32767"):
        world.put(service("c", "{type: NodePort, ports: [{port: 80}]}"))
    assert served(world, "b")[1] == (32_767,)


SELECTED = [
    ("{app: a}", ["a"]),
    ("{app: a, tier: t}", ["a"]),
    ("{tier: t}", ["a", "b"]),
    ("{app: b, tier: u}", None),
]


@pytest.mark.parametrize(("selector", "pods"), SELECTED, ids=[selector for selector, _ in SELECTED])
def test_a_service_has_the_pods_with_all_its_labels(selector: str, pods: list[str] | None) -> None:
    world = new_world()
    for each in (
        pod("a", metadata=", labels: {app: a, tier: t}"),
        pod("b", metadata=", labels: {app: b, tier: t}"),
        service("s", f"{{selector: {selector}, ports: [{{port: 80}}]}}"),
    ):
        world.put(each)

    found = world.objects.get(Key(Kind.ENDPOINT_SLICE, "x", "s-0"))
    held = found.object if found else None
    assert pods == ([one.target_ref.name for one in held.endpoints] if isinstance(held, EndpointSlice) else None)


REFUSED = [
    (pod("a", "{nodeName: far}"), "Pod x/a: its node far is none of the lab's (node-1)"),
    (read("{apiVersion: v1, kind: Node, metadata: {name: far}}")[0], "Node far: the lab has node-1"),
]


@pytest.mark.parametrize(("document", "said"), REFUSED, ids=["pod", "node"])
def test_what_has_no_place_is_refused(document: Document, said: str) -> None:
    with pytest.raises(NotPlaceable) as raised:
        new_world().put(document)

    assert said in str(raised.value)


def test_finding_by_what_people_write() -> None:
    world = new_world()
    policy = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p}, spec: {podSelector: {}}}"
    key = world.put(read(policy)[0])

    assert world.find("NetworkPolicy", "", "p") == key == world.find("NetworkPolicy", "default", "p")
    assert world.find("NetworkPolicy", "default", "p", "networking.k8s.io/v1") == key
    for wrong in (
        ("NetworkPolicy", "x", "p", ""),
        ("Pod", "", "p", ""),
        ("NetworkPolicy", "", "p", "crd.antrea.io/v1"),
    ):
        with pytest.raises(NotPlaceable, match="there is no such object"):
            world.find(*wrong)


def test_every_object_has_a_uid_that_stays() -> None:
    world = new_world()
    policy = "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p}, spec: {podSelector: {}}}"
    key = world.put(read(policy)[0])
    first = world.objects[key].object.metadata.uid
    world.put(read(policy.replace("podSelector: {}", "podSelector: {}, ingress: [{}]"))[0])

    assert first
    assert world.objects[key].object.metadata.uid == first
    assert msgspec.json.decode(world.bodies[key])["metadata"]["uid"] == first


def test_a_mac_belongs_to_an_address() -> None:
    assert mac_of(Address("10.64.0.2")) == "0a:58:0a:40:00:02"
    assert mac_of(Address("fd00::1:2")) == "0a:58:00:01:00:02"
