"""The input of verdicts: objects, and what follows from reading them one by one.

Membership is computed by checking each selector against each Pod, without the index of `sluice.grouping`, so that an
error in either shows up as a disagreement between them. Results are cached until a Namespace or a policy changes.
"""

from collections.abc import Iterable, Mapping

from sluice.contracts.ids import ALL_NODES, Address, GroupId, NodeName, Revision, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import AnyObject, Namespace, Node, Pod
from sluice.contracts.programs import Direction, GroupPeer, Program, Rule
from sluice.grouping.addresses import Claim, Claims, Conflict
from sluice.grouping.events import Newest, ObjectEvent, ObjectKey, key_of
from sluice.grouping.members import labels_of, node_addresses
from sluice.grouping.selectors import GroupSelector, selects, selects_node
from sluice.policy.anchors import Anchors
from sluice.policy.compiler import Compiler, Groups
from sluice.policy.facing import Facing
from sluice.policy.services import Services

_Likeness = tuple[str, tuple[tuple[str, str], ...]]
"""Namespace and labels: all that selectors see of a Pod."""


class ClusterState:
    """A fold of objects."""

    def __init__(self, objects: Iterable[AnyObject] = ()) -> None:
        self._newest = Newest()
        self._namespaces: dict[str, Namespace] = {}
        self._pods: dict[tuple[str, str], Pod] = {}
        self._nodes: dict[NodeName, Node] = {}
        self._nodes_at: dict[Address, set[NodeName]] = {}
        self._claims: Claims[Pod] = Claims(
            lambda pod: Claim(pod.metadata.creation_timestamp, pod.uid, "/".join(pod.key))
        )
        self._compiler = Compiler()
        self.services = Services()
        self._groups = Groups()
        self._groups_of: dict[_Likeness, frozenset[GroupId]] = {}
        self._anchors: Anchors | None = None
        self._of_nodes: dict[GroupId, GroupSelector] | None = None
        self._facing: dict[tuple[frozenset[GroupId], Direction], Facing] = {}
        self._addressed: dict[GroupId, list[Program]] | None = None
        self._naming: dict[GroupId, dict[tuple[Unit, Direction, int], tuple[Program, Rule]]] | None = None
        for sequence, obj in enumerate(objects, start=1):
            self.put(obj, Revision(1, sequence))

    # --------------------------------------------------------------------------------------------------------- facts

    def evolve(self, event: ObjectEvent) -> None:
        """Apply the event. Never raises: late, repeated and unknown events are tolerated."""
        kind, namespace, name = event.key
        if not self._newest.is_news(event.key, event.revision):
            return
        match kind:
            case Kind.POD:
                self._place((namespace, name), event.object if isinstance(event.object, Pod) else None)
            case Kind.NAMESPACE:
                self._namespaces.pop(name, None)
                if isinstance(event.object, Namespace):
                    self._namespaces[name] = event.object
                self._groups.evolve(event)
                self._compiler.evolve(event)
                self._forget()
            case Kind.NODE:
                self._stand(NodeName(name), event.object if isinstance(event.object, Node) else None)
            case Kind.ENDPOINT_SLICE:
                self.services.evolve(event)
            case _:
                if kind is Kind.SERVICE:
                    self.services.evolve(event)
                groups, programs = self._groups.evolve(event), self._compiler.evolve(event)
                if groups or programs:
                    self._forget()

    def put(self, obj: AnyObject, at: Revision) -> None:
        self.evolve(ObjectEvent(key_of(obj), obj, at))

    def delete(self, kind: Kind, namespace: str, name: str, at: Revision) -> None:
        self.evolve(ObjectEvent(ObjectKey(kind, namespace, name), None, at))

    def _place(self, key: tuple[str, str], after: Pod | None) -> None:
        before = self._pods.pop(key, None)
        if before is not None and before.on_pod_network:
            self._claims.remove(dict.fromkeys(before.addresses), before)
        if after is not None:
            self._pods[key] = after
            if after.on_pod_network:
                self._claims.add(dict.fromkeys(after.addresses), after)

    def _stand(self, name: NodeName, after: Node | None) -> None:
        before = self._nodes.pop(name, None)
        for address in node_addresses(before) if before else ():
            self._nodes_at[address].discard(name)
        if after is not None:
            self._nodes[name] = after
            for address in node_addresses(after):
                self._nodes_at.setdefault(address, set()).add(name)

    def _forget(self) -> None:
        self._groups_of.clear()
        self._facing.clear()
        self._anchors = self._of_nodes = None
        self._addressed = self._naming = None

    # ----------------------------------------------------------------------------------------------------- questions

    @property
    def compiler(self) -> Compiler:
        """The programs, and what could not be translated."""
        return self._compiler

    @property
    def selectors(self) -> Mapping[GroupId, GroupSelector]:
        return self._groups.selectors

    @property
    def namespaces(self) -> Mapping[str, Namespace]:
        return self._namespaces

    @property
    def nodes(self) -> Mapping[NodeName, Node]:
        return self._nodes

    @property
    def pods(self) -> Mapping[tuple[str, str], Pod]:
        return self._pods

    def holder(self, address: Address) -> Pod | None:
        """The live Pod that holds the address."""
        return self._claims.holder(address)

    def contested(self) -> tuple[Conflict, ...]:
        """The addresses claimed by several live Pods, and which of them holds each; sorted."""
        return self._claims.conflicts()

    def groups_of(self, pod: Pod) -> frozenset[GroupId]:
        """The groups that the Pod is a member of; none if it is not on the Pod network."""
        if not pod.on_pod_network:
            return frozenset()
        namespace, labels = pod.metadata.namespace, labels_of(pod)
        likeness = namespace, tuple(sorted(labels.items()))
        known = self._groups_of.get(likeness)
        if known is None:
            its = self._namespaces.get(namespace)
            its_labels = its.metadata.labels if its else None
            if self._anchors is None:
                self._anchors = Anchors(self.selectors)
            known = self._groups_of[likeness] = frozenset(
                group
                for group in self._anchors.selecting(namespace, its_labels, labels)
                if not (selector := self.selectors[group]).networks
                and any(selects(term, namespace, its_labels, labels) for term in selector.terms)
            )
        return known

    def groups_of_node(self, node: Node) -> frozenset[GroupId]:
        """The groups of nodes that the node belongs to."""
        if self._of_nodes is None:
            self._of_nodes = {group: selector for group, selector in self.selectors.items() if selector.nodes}
        labels = node.metadata.labels
        return frozenset(group for group, selector in self._of_nodes.items() if selects_node(selector, labels))

    def groups_at(self, address: Address) -> frozenset[GroupId]:
        """The groups of nodes that contain a node with this address."""
        names = self._nodes_at.get(address, ())
        return frozenset().union(*(self.groups_of_node(self._nodes[name]) for name in names))

    def node_at(self, address: Address) -> Node | None:
        """The node that has the address; the first by name if several do."""
        return next((self._nodes[name] for name in sorted(self._nodes_at.get(address, ()))), None)

    def programs_of(self, groups: Iterable[GroupId]) -> list[Program]:
        """The programs that are addressed to any of these groups."""
        if self._addressed is None:
            self._addressed = {}
            for (group, _), program in self._compiler.programs.items():
                self._addressed.setdefault(group, []).append(program)
        return [program for group in groups for program in self._addressed.get(group, ())]

    def rules_naming(self, groups: Iterable[GroupId]) -> list[tuple[Program, Rule]]:
        """The rules with one of these groups as a peer, in order; each once, however many programs contain it."""
        if self._naming is None:
            self._naming = {}
            for program in self._compiler.programs.values():
                for rule in program.rules:
                    place = program.unit, rule.direction, rule.index
                    for peer in rule.peers or ():
                        if isinstance(peer, GroupPeer):
                            self._naming.setdefault(peer.group, {})[place] = program, rule
        found = {place: one for group in groups for place, one in self._naming.get(group, {}).items()}
        return [found[place] for place in sorted(found)]

    def facing_services(self) -> Facing:
        """The rules of the policies that apply to NodePort Services."""
        key = frozenset((ALL_NODES,)), Direction.INGRESS
        known = self._facing.get(key)
        if known is None:
            known = self._facing[key] = Facing(self.programs_of((ALL_NODES,)), Direction.INGRESS)
        return known

    def facing(self, subject: Pod | Node, direction: Direction) -> Facing:
        """The rules of the policies that apply to the Pod, or to the node itself."""
        groups = self.groups_of(subject) if isinstance(subject, Pod) else self.groups_of_node(subject)
        known = self._facing.get((groups, direction))
        if known is None:
            known = self._facing[groups, direction] = Facing(self.programs_of(groups), direction)
        return known
