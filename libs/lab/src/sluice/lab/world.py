"""The objects of a lab, with what scheduler, kubelet and API server would have added.

Pods without a node are spread over the nodes in order, Pods without an address get one from their node's range, and
Nodes get addresses. Namespaces are created when an object needs them, and deleting one deletes its objects. Explicit
values are kept. Everything is decided here and nothing is done: `Lab` carries it out.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address, ip_network
from types import MappingProxyType
from typing import NamedTuple

from msgspec.structs import replace

from sluice.contracts import codec
from sluice.contracts.ids import Address, NodeName, Uid
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.contracts.objects import (
    Namespace,
    Node,
    ObjectMeta,
    Pod,
    PodIP,
    PodStatus,
)
from sluice.contracts.services import EndpointSlice, Service
from sluice.kube.manifest import Document, parse
from sluice.lab import addresses, services
from sluice.lab.addresses import runs
from sluice.lab.attaching import Attaching, NoSuchNetwork
from sluice.lab.scenario import DnsRecord, Network, addresses_of


class NotPlaceable(ValueError):
    """The object cannot be in this lab. The message says which one, why and what to do."""


class Key(NamedTuple):
    kind: Kind
    namespace: str
    """Empty for cluster-scoped kinds."""

    name: str


class Placed(NamedTuple):
    """A Pod in the lab. With a new `uid` it is a new Pod: its namespace and port are created anew.

    In `ends`, any other source or destination of packets.
    """

    pod: str
    """namespace/name, or the prefixed name of another end."""

    uid: Uid
    node: NodeName
    addresses: tuple[Address, ...]
    ports: tuple[int, ...]
    """Numbers of its container ports; it serves TCP, UDP and SCTP on each."""

    host_network: bool


class World:
    """The objects, by key. A fold: its contents depend only on what was put and removed."""

    def __init__(
        self,
        nodes: Iterable[str],
        new_uid: Callable[[], str],
        now: Callable[[], str],
        externals: Mapping[str, Address] = MappingProxyType({}),
        records: Mapping[str, DnsRecord] = MappingProxyType({}),
        *,
        networks: tuple[Network, ...] = (),
    ) -> None:
        """`now` returns the time as RFC 3339: of two Pods with the same address the one created later holds it."""
        self.nodes = tuple(NodeName(node) for node in nodes)
        self._place_of = {node: place for place, node in enumerate(self.nodes)}
        self.externals = externals
        """Addresses of hosts outside the cluster, by name."""

        self.records = dict(records)
        """The DNS records."""

        self._new_uid, self._now = new_uid, now
        self._objects: dict[Key, Document] = {}
        self._bodies: dict[Key, bytes] = {}
        self._implied: set[Key] = set()
        self._derived: dict[Key, EndpointSlice] = {}
        """EndpointSlices that the lab made."""

        self._is_derived = True
        """Whether they are those of the objects. They are made when somebody asks, since it takes a pass over all."""

        self._taken = addresses.Taken()
        self._serving = services.Taken()
        self._versions: frozenset[int] | None = None
        """The IP versions of all nodes' ranges; None: not known since a Node changed."""

        self._next_node = 0
        self._attaching = Attaching(networks)
        for node in self.nodes:
            self._imply(Key(Kind.NODE, "", node))
        for definition in self._attaching.definitions():
            self.put(definition)

    @property
    def bodies(self) -> Mapping[Key, bytes]:
        """Every object as JSON."""
        self._derive()
        return self._bodies

    @property
    def objects(self) -> Mapping[Key, Document]:
        self._derive()
        return self._objects

    def pods(self) -> dict[str, Placed]:
        """The running Pods, by namespace/name, in order of arrival."""
        return {
            "/".join(document.object.key): _placed(document.object)
            for document in self._objects.values()
            if isinstance(document.object, Pod) and runs(document.object)
        }

    @property
    def names(self) -> Mapping[str, tuple[Address, ...]]:
        """The addresses of DNS names."""
        return addresses_of(self.records)

    def gateways(self, name: NodeName) -> tuple[Address, ...]:
        """The node's own addresses among its Pods: the first of each range."""
        return tuple(Address(str(ip_network(cidr, strict=False)[1])) for cidr in self.node(name).spec.pod_cidrs)

    def behind(self) -> dict[NodeName, frozenset[str]]:
        """For each node its ranges, and the addresses of its Pods outside of them, as CIDRs."""
        networks = {
            node: [ip_network(cidr, strict=False) for cidr in self.node(node).spec.pod_cidrs] for node in self.nodes
        }
        found = {node: set(map(str, each)) for node, each in networks.items()}
        for document in self._objects.values():
            pod = document.object
            if isinstance(pod, Pod) and runs(pod) and not pod.spec.host_network:
                for address in map(ip_address, pod.addresses):
                    if not any(address in each for each in networks[pod.node]):
                        found[pod.node].add(str(ip_network(address)))
        return {node: frozenset(each) for node, each in found.items()}

    def put(self, document: Document) -> Key:
        """Add or update the object, with what its kind needs; returns its final key.

        Raises:
            NotPlaceable: its node is not in the lab, or is full.
        """
        key = Key(document.kind, *document.object.key)
        if key.namespace:
            self._imply(Key(Kind.NAMESPACE, "", key.namespace))
        self._store(key, document)
        self._implied.discard(key)
        self._derived.pop(key, None)
        self._is_derived = False
        return key

    def remove(self, key: Key) -> None:
        """Remove the object, and with a Namespace everything in it. The lab's own Nodes are reset instead.

        Raises:
            NotPlaceable: there is no such object.
        """
        self._derive()
        if key not in self._objects:
            raise NotPlaceable(f"{describe(key)}: there is none to delete: check kind, namespace and name")
        gone = [key]
        if key.kind is Kind.NAMESPACE:
            gone += [each for each in self._objects if each.namespace == key.name]
        for each in gone:
            self._taken.remove(self._objects[each].object)
            if isinstance(service := self._objects[each].object, Service):
                self._serving.remove(service)
            del self._objects[each], self._bodies[each]
            self._derived.pop(each, None)
            self._implied.discard(each)
        if key.kind is Kind.NODE:
            self._imply(key)
        self._is_derived = False

    def _derive(self) -> None:
        """Create EndpointSlices for the Services that have none from elsewhere."""
        if self._is_derived:
            return
        self._is_derived = True
        held = [document.object for document in self._objects.values()]
        given = {
            (one.metadata.namespace, one.service)
            for key, document in self._objects.items()
            if isinstance(one := document.object, EndpointSlice) and key not in self._derived
        }
        asking = [one for one in held if isinstance(one, Service) and one.key not in given]
        pods = services.Candidates(asking, (one for one in held if isinstance(one, Pod) and runs(one)))
        wanted = {}
        for service in asking:
            if service.spec.selector:
                for one in services.slices(service, pods.of(service)):
                    wanted[Key(Kind.ENDPOINT_SLICE, one.metadata.namespace, one.metadata.name)] = one
        for gone in self._derived.keys() - wanted.keys():
            del self._objects[gone], self._bodies[gone]
        for key, one in wanted.items():
            if self._derived.get(key) == one:
                continue
            (document,) = parse(codec.encode(one), "lab.json")
            assert isinstance(document, Document), document
            self._store(key, document)
        self._derived = wanted

    def find(self, kind: str, namespace: str, name: str, api_version: str = "") -> Key:
        """The key of an object named by a user.

        Raises:
            NotPlaceable: there is no such kind, or no such object.
        """
        for key in self.objects:
            resource = RESOURCES[key.kind]
            wanted = (kind, (namespace or "default") if resource.namespaced else "", name)
            if wanted == (resource.kind, key.namespace, key.name) and api_version in ("", resource.api_version):
                return key
        where = f" in namespace {namespace}" if namespace else ""
        raise NotPlaceable(f"{kind} {name}{where}: there is no such object: check kind, namespace and name")

    def _store(self, key: Key, document: Document) -> None:
        known = self._objects.get(key)
        uid = document.object.metadata.uid or (known.object.metadata.uid if known else "") or self._new_uid()
        match document.object:
            case Pod():
                pod = self._placed_pod(key, document.object, known.object if known else None)
                document = replace(document, object=pod, body=codec.encode(pod))
            case Node():
                node = self._addressed_node(key, document.object, uid)
                self._versions = None
                document = replace(document, object=node, body=codec.encode(node))
            case Service():
                before = known.object if known else None
                if isinstance(before, Service):
                    self._serving.remove(before)
                try:
                    service = services.addressed(document.object, self._serving, self._ip_versions())
                except services.NoneLeft as error:
                    if isinstance(before, Service):
                        self._serving.add(before)
                    raise NotPlaceable(f"{describe(key)}: {error}") from error
                if isinstance(before, Service) and not document.object.spec.cluster_ips:
                    service = _readdressed(service, before)
                self._serving.add(service)
                service = replace(service, metadata=replace(service.metadata, uid=uid))
                document = replace(document, object=service, body=codec.encode(service))
            case _:
                document = document.identified(uid)
        self._taken.remove(known.object if known else None)
        self._taken.add(document.object)
        self._objects[key] = document
        self._bodies[key] = document.body

    def _ip_versions(self) -> frozenset[int]:
        if self._versions is None:
            cidrs = (cidr for name in self.nodes for cidr in self.node(name).spec.pod_cidrs)
            self._versions = frozenset(ip_network(cidr).version for cidr in cidrs)
        return self._versions

    def _imply(self, key: Key) -> None:
        """Create the object, with nothing but a name, if it does not exist."""
        if key in self._objects:
            return
        bare = Namespace if key.kind is Kind.NAMESPACE else Node
        resource = RESOURCES[key.kind]
        made = bare(api_version=resource.api_version, kind=resource.kind, metadata=ObjectMeta(name=key.name))
        (document,) = parse(codec.encode(made), "lab.json")
        assert isinstance(document, Document), document
        self._implied.add(key)
        self._store(key, document)

    def _placed_pod(self, key: Key, pod: Pod, known: object) -> Pod:
        """The Pod with node, addresses, uid and age; existing ones are kept if it is the same Pod as before."""
        before = known if isinstance(known, Pod) and _same_sandbox(known, pod) else None
        node = pod.node or (before.node if before else self._schedule())
        if node not in self._place_of:
            raise NotPlaceable(
                f"{describe(key)}: its node {node} is none of the lab's ({', '.join(self.nodes)}): add it to spec.nodes"
            )
        own = pod.addresses or (before.addresses if before else ())
        if not own:
            own = self.node_addresses(node) if pod.spec.host_network else self._free_addresses(node)
        born = before.metadata if before else ObjectMeta(name="", uid=self._new_uid(), creation_timestamp=self._now())
        metadata = replace(
            pod.metadata,
            uid=pod.metadata.uid or born.uid,
            creation_timestamp=pod.metadata.creation_timestamp or born.creation_timestamp,
        )
        status = PodStatus(
            phase=pod.status.phase or "Running",
            pod_ip=own[0],
            pod_ips=tuple(PodIP(ip=address) for address in own),
        )
        made = replace(pod, metadata=metadata, spec=replace(pod.spec, node_name=node), status=status)
        try:
            return self._attaching.attached(made, before)
        except NoSuchNetwork as error:
            raise NotPlaceable(f"{describe(key)}: {error}") from error

    def _schedule(self) -> NodeName:
        node = self.nodes[self._next_node % len(self.nodes)]
        self._next_node += 1
        return node

    def _addressed_node(self, key: Key, node: Node, uid: str) -> Node:
        index = self._place_of.get(NodeName(key.name))
        if index is None:
            raise NotPlaceable(f"{describe(key)}: the lab has {', '.join(self.nodes)}: add it to spec.nodes")
        return addresses.addressed(replace(node, metadata=replace(node.metadata, uid=uid)), index)

    def node(self, name: NodeName) -> Node:
        """The Node object, with addresses and ranges."""
        made = self._objects[Key(Kind.NODE, "", name)].object
        assert isinstance(made, Node)
        return made

    def node_addresses(self, name: NodeName) -> tuple[Address, ...]:
        """The addresses at which other nodes reach it."""
        return tuple(Address(entry.address) for entry in self.node(name).status.addresses if entry.type == "InternalIP")

    def _free_addresses(self, node: NodeName) -> tuple[Address, ...]:
        """One from each of the node's ranges."""
        try:
            return tuple(self._taken.free(cidr) for cidr in self.node(node).spec.pod_cidrs)
        except addresses.NoneLeft as error:
            raise NotPlaceable(f"node {node}: {error}") from error


def describe(key: Key) -> str:
    where = f"{key.namespace}/" if key.namespace else ""
    return f"{RESOURCES[key.kind].kind} {where}{key.name}"


def ports_of(pod: Pod) -> tuple[int, ...]:
    """The numbers of its container ports, sorted."""
    declared: Iterator[int] = (port.container_port for container in pod.spec.containers for port in container.ports)
    return tuple(sorted(set(declared)))


def _placed(pod: Pod) -> Placed:
    return Placed("/".join(pod.key), pod.uid, pod.node, pod.addresses, ports_of(pod), pod.spec.host_network)


def _readdressed(service: Service, known: object) -> Service:
    """The Service with its previous ClusterIPs."""
    if not isinstance(known, Service) or services.is_headless(service) or services.is_headless(known):
        return service
    had = known.spec.cluster_ips
    return replace(service, spec=replace(service.spec, cluster_ip=had[0], cluster_ips=had))


def _same_sandbox(before: Pod, after: Pod) -> bool:
    """Whether the change keeps the running Pod: it affects neither where it runs nor what it serves."""
    return (
        after.metadata.uid in ("", before.metadata.uid)
        and after.node in ("", before.node)
        and (after.addresses or before.addresses) == before.addresses
        and after.spec.host_network == before.spec.host_network
        and ports_of(after) == ports_of(before)
        and runs(before)
    )
