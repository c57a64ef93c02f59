"""Who is a member of which group, kept up to date at the cost of what changed.

Only Pods on the Pod network are members: scheduled, not terminated, and not on the host network. A Pod without an
address is a member without addresses, since its node knows its port. Groups over secondary networks have the interfaces
of the Pods on these networks as members, instead of the Pods. A group of nodes has nodes as members, each on itself.

A Pod that no group can select (`matching`) is set aside: only its addresses count, because others may claim them, and
its node, if all Pods of that node are asked for. It is placed (`placed`) once a group can select it, once it has
interfaces on secondary networks, or once another Pod claims one of its addresses.
"""

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from operator import attrgetter

from msgspec.structs import replace

from sluice.contracts import codec, networks
from sluice.contracts.groups import Member
from sluice.contracts.ids import GroupId, NodeName, Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import Namespace, NetworkAttachmentDefinition, Node, Pod
from sluice.grouping.addresses import Claims, Conflict
from sluice.grouping.attachments import interfaces_of
from sluice.grouping.bystanders import Aside, Bystander, is_same, whole
from sluice.grouping.changes import Changes, Pending
from sluice.grouping.events import Newest, ObjectEvent, ObjectKey, key_of
from sluice.grouping.interfaces import Interfaces
from sluice.grouping.matching import Group, Matching, Space
from sluice.grouping.members import labels_of
from sluice.grouping.nodes import NodeGroups
from sluice.grouping.onnodes import OnNodes
from sluice.grouping.placed import Placed, claim_of
from sluice.grouping.selectors import GroupSelector

_KINDS = frozenset({Kind.NAMESPACE, Kind.NODE, Kind.POD, Kind.NETWORK_ATTACHMENT})

Known = Namespace | Node | Pod | NetworkAttachmentDefinition


def _every(_: NodeName) -> bool:
    return True


class Grouping:
    """A fold of Namespaces, Nodes, Pods and selectors into members.

    Mutable, so that the cost of an event is proportional to what it changes.
    """

    def __init__(self, tells: Callable[[NodeName], bool] = _every) -> None:
        """Empty.

        Args:
            tells: whether all Pods of a node are asked for; for other nodes, only members of groups are.
        """
        self._tells = tells
        self._newest = Newest()
        self._matching: Matching[Placed] = Matching(self._settle)
        self._nodes = NodeGroups()
        self._claims: Claims[Placed | Aside] = Claims(claim_of)
        """A Pod that is set aside holds all it claims: a contested address gets its claimants placed."""

        self._interfaces: Interfaces[Placed] = Interfaces(claim_of)
        self._pods: dict[str, Placed] = {}
        self._on_nodes = OnNodes()
        """Pods that are set aside are included only on nodes of which all Pods are asked for."""

        self._attached_on: dict[NodeName, dict[Placed, None]] = {}
        """Pods with interfaces on secondary networks, by node."""

        self._pending = Pending()

    # --------------------------------------------------------------------------------------------------------- facts

    def evolve(self, event: ObjectEvent) -> bool:
        """Take the event in; True if anything changed.

        Never raises: late, repeated and unexpected events are absorbed, and so are those of other kinds.
        """
        key, obj = event.key, event.object
        if key[0] not in _KINDS or not self._newest.is_news(key, event.revision):
            return False
        if isinstance(obj, Pod):  # as most are
            return self._put_pod(obj)
        if isinstance(obj, Namespace):  # which takes less than to find that it is `Known`
            return self._label(obj.metadata.name, obj)
        return self._put(obj) if isinstance(obj, Known) else self._delete(key)

    def evolve_bystanders(self, pods: Iterable[Bystander]) -> None:
        """Take in Pods that have to be decoded only if a group can select them.

        Never raises. One that has to be decoded and cannot be keeps its former state; the shard of its Namespace
        reports it.
        """
        space = Space[Placed]("")
        for pod in self._newest.news(pods):
            _, namespace, name = pod.key
            if namespace != space.name:  # a listing has the Pods of a Namespace one after the other
                space = self._matching.space(namespace)
            if not space.is_open:
                self._set_aside(space, name, pod)
                continue
            with suppress(codec.Undecodable):
                self._put_pod(codec.decode(pod.body, Pod))

    def put(self, obj: Known, at: Revision | None = None) -> bool:
        """Put an object, as of revision `at` (unset: newer than all before). True if anything changed."""
        if at is None:
            return self._put(obj)
        return self.evolve(ObjectEvent(key_of(obj), obj, at))

    def delete(self, kind: Kind, namespace: str, name: str, at: Revision | None = None) -> bool:
        """Delete an object, as of revision `at` (unset: newer than all before). True if anything changed."""
        key = ObjectKey(kind, namespace, name)
        return self._delete(key) if at is None else self.evolve(ObjectEvent(key, None, at))

    def settle(self, upto: Revision) -> None:
        """Everything up to this revision was seen; see `events.Newest.settle`."""
        self._newest.settle(upto)

    def select(self, group: GroupId, selector: GroupSelector) -> None:
        """Keep track of the members of this group from now on. Idempotent."""
        known = self._matching.groups.get(group)
        before = known.selector if known else self._nodes.selector(group)
        if before is not None:
            if before == selector:
                return
            self.release(group)
        if selector.nodes:
            self._pending.touch_nodes(self._nodes.select(group, selector))
        else:
            self._pending.touch_group(self._matching.select(group, selector))

    def release(self, group: GroupId) -> None:
        """Stop tracking the group. No effect if it is not selected."""
        known = self._matching.groups.get(group)
        if known is not None:
            self._matching.release(known)
            self._pending.touch_group(known)
        elif group in self._nodes:
            self._pending.touch_nodes(self._nodes.release(group))

    # ----------------------------------------------------------------------------------------------------- questions

    def drain(self) -> Changes:
        """What may have changed since the last call."""
        return self._pending.drain()

    def members(self, group: GroupId, node: NodeName) -> tuple[Member, ...]:
        """The group's members on the node; sorted."""
        if group in self._nodes:
            return self._nodes.members(group, node)
        known, here = self._matching.groups.get(group), self._on_nodes.placed(node)
        if known is None or not here:
            return ()
        label_sets = known.label_sets
        if len(label_sets) <= len(here):
            found = [pod for one in label_sets if node in one.on for pod in one.on[node]]
        else:
            found = [pod for label_set, pods in here.items() if label_set in label_sets for pod in pods]
        return self._members(known, found)

    def pages(self, group: GroupId, nodes: Collection[NodeName]) -> list[tuple[NodeName, tuple[Member, ...]]]:
        """The group's members on each of these nodes; sorted.

        The cost is that of the Pods on the nodes or of the group's label sets, whichever is less.
        """
        if group in self._nodes:
            return [(node, self._nodes.members(group, node)) for node in sorted(nodes)]
        known = self._matching.groups.get(group)
        if known is None:
            return [(node, ()) for node in sorted(nodes)]
        label_sets = known.label_sets
        most = len(nodes) * len(label_sets)
        if len(label_sets) >= len(nodes) or sum([len(one.on) for one in label_sets]) > most:
            return [(node, self.members(group, node)) for node in sorted(nodes)]
        found: dict[NodeName, list[Placed]] = {node: [] for node in sorted(nodes)}
        for label_set in label_sets:
            for node, pods in label_set.on.items():
                if node in found:
                    found[node] += pods
        return [(node, self._members(known, pods)) for node, pods in found.items()]

    def nodes(self, group: GroupId) -> tuple[NodeName, ...]:
        """The nodes on which the group has members; sorted."""
        if group in self._nodes:
            return self._nodes.nodes(group)
        known = self._matching.groups.get(group)
        on = {node for label_set in known.label_sets for node in label_set.on} if known else ()
        return tuple(sorted(node for node in on if not known or self._has_members(known, node)))

    def groups_on(self, node: NodeName) -> tuple[GroupId, ...]:
        """The groups that have members on the node; sorted."""
        groups = {group for label_set in self._on_nodes.placed(node) for group in label_set.groups}
        found = {group.id for group in groups if self._has_members(group, node)}
        return tuple(sorted(found | self._nodes.groups_on(node)))

    def pods_on(self, node: NodeName) -> tuple[Member, ...]:
        """Every live Pod of the node that is not on the host network; sorted."""
        return self._on_nodes.members(node)

    def interfaces_on(self, node: NodeName) -> tuple[Member, ...]:
        """The interfaces of the node's Pods on secondary networks; sorted."""
        pods = self._attached_on.get(node)
        return tuple(sorted(member for pod in pods for member in self._interfaces.of(pod))) if pods else ()

    def conflicts(self) -> tuple[Conflict, ...]:
        """The addresses that several live Pods claim, with their holders; sorted."""
        return self._claims.conflicts()

    # ------------------------------------------------------------------------------------------------------- changes

    def _put(self, obj: Known) -> bool:
        if isinstance(obj, Pod):
            return self._put_pod(obj)
        if isinstance(obj, Namespace):
            return self._label(obj.metadata.name, obj)
        if isinstance(obj, Node):
            return self._pending.touch_nodes(self._nodes.put(NodeName(obj.metadata.name), obj))
        return self._define("/".join(obj.key), obj.spec.config)

    def _delete(self, key: ObjectKey) -> bool:
        if key.kind is Kind.NAMESPACE:
            return self._label(key.name, None)
        if key.kind is Kind.NETWORK_ATTACHMENT:
            return self._define(f"{key.namespace}/{key.name}", "")
        if key.kind is Kind.NODE:
            return self._pending.touch_nodes(self._nodes.put(NodeName(key.name), None))
        return self._unplace(key.namespace, key.name)

    def _label(self, name: str, namespace: Namespace | None) -> bool:
        moved = self._matching.label(name, namespace.metadata.labels if namespace else None)
        for group, label_set in moved or ():
            self._pending.touch_label_set(group, label_set)
        return moved is not None

    def _define(self, network: str, config: str) -> bool:
        """The configuration of a network changed; one without a readable configuration has no known plugin."""
        plugin = None
        with suppress(networks.BadAnnotation):
            plugin = networks.plugin(config) if config.strip() else None
        touched = self._interfaces.define(network, plugin)
        self._pending.touch_all(touched)
        return bool(touched)

    def _put_pod(self, pod: Pod) -> bool:
        namespace, name = pod.metadata.namespace, pod.metadata.name
        if not pod.on_pod_network:
            return self._unplace(namespace, name)
        space = self._matching.space(namespace)
        interfaces = interfaces_of(pod) if pod.metadata.annotations else ()
        if interfaces:
            self._matching.open(space)
        return self._place(space, pod, interfaces) if space.is_open else self._set_aside(space, name, pod)

    def _place(self, space: Space[Placed], pod: Pod, interfaces: tuple[Member, ...]) -> bool:
        new = Placed(pod, interfaces, self._matching.label_set(space, labels_of(pod)))
        name = new.claimed.pod
        old = self._pods.get(name)
        if old is not None:
            if old.equals(new):
                return False
            self._withdraw(old)
        node = new.node
        self._pods[name] = new
        self._on_nodes.put(new)
        if interfaces:
            self._attached_on.setdefault(node, {})[new] = None
            self._pending.touch_all(self._interfaces.add(new, interfaces))
        contested = self._claims.add(new.claimed.addresses, new)
        if contested:
            self._contest(contested)
        self._pending.touch(new)
        if old is None:
            self._pending.owns.add(node)
        else:
            if not old.stands_with(new):
                self._pending.owns |= {old.node, node}
            self._leave(old)
        return True

    def _set_aside(self, space: Space[Placed], name: str, pod: Aside) -> bool:
        old = space.aside.get(name)
        if old is not None:
            if is_same(old, pod):
                return False
            self._forget_aside(old)
        space.aside[name] = pod
        node, hold = pod.node, self._claims.hold
        if self._tells(node):
            self._pending.locals.add(node)
            self._on_nodes.put_aside(node, pod)
        for address in pod.addresses:
            if hold(address, pod) is not pod:
                self._contest(self._claims.add(pod.addresses, pod))
                break
        return True

    def _forget_aside(self, old: Aside) -> None:
        """Remove a Pod that is set aside. Its addresses are not contested, or it would have been placed."""
        self._claims.remove(old.addresses, old)
        if self._tells(old.node):
            self._pending.locals.add(old.node)
            self._on_nodes.remove_aside(old)

    def _settle(self, space: Space[Placed]) -> None:
        """Place all Pods that are set aside in the Namespace. Lists of the Pods on their nodes do not change."""
        aside, space.aside = space.aside, {}
        for unplaced in aside.values():
            self._on_nodes.remove_aside(unplaced)
            pod = whole(unplaced)
            one = Placed(pod, (), self._matching.label_set(space, labels_of(pod)))
            self._claims.replace(one.claimed.addresses, unplaced, one)
            self._pods[one.claimed.pod] = one
            self._on_nodes.put(one)
            if one.label_set.groups:
                self._pending.touch_pages(one)
                self._pending.owns.add(one.node)

    def _contest(self, claimants: list[Placed | Aside]) -> None:
        """Settle who holds a contested address; claimants that are set aside are placed first."""
        self._award([one if isinstance(one, Placed) else self._placed(one) for one in claimants])

    def _placed(self, one: Aside) -> Placed:
        """Place a Pod that is set aside, or was when the claimants were listed."""
        namespace, name = one.key if isinstance(one, Pod) else one.key[1:]
        self._matching.open(self._matching.space(namespace))
        return self._pods[f"{namespace}/{name}"]

    def _unplace(self, namespace: str, name: str) -> bool:
        aside = self._matching.drop_aside(namespace, name)
        if aside is not None:
            self._forget_aside(aside)
            return True
        old = self._pods.pop(f"{namespace}/{name}", None)
        if old is None:
            return False
        self._withdraw(old)
        self._pending.owns.add(old.node)
        self._leave(old)
        return True

    def _withdraw(self, old: Placed) -> None:
        self._contest(self._claims.remove(old.claimed.addresses, old))
        if old.interfaces:
            attached = self._attached_on[old.node]
            del attached[old]
            if not attached:
                del self._attached_on[old.node]
            self._pending.touch_all(self._interfaces.remove(old))

    def _leave(self, old: Placed) -> None:
        """Take the former version of a Pod out of its label set and off its node."""
        self._pending.touch(old)
        self._on_nodes.remove(old)
        if not old.label_set.on:
            self._matching.forget(old.label_set)

    def _award(self, claimants: list[Placed]) -> None:
        """Update the members of placed Pods to the addresses that they hold."""
        for pod in claimants:
            has = tuple([address for address in pod.claimed.addresses if self._claims.holder(address) is pod])
            if has != pod.member.addresses:
                pod.member = replace(pod.claimed, addresses=has)
                self._pending.touch(pod)

    def _members(self, group: Group[Placed], pods: list[Placed]) -> tuple[Member, ...]:
        """These Pods as members of the group; sorted."""
        on = group.selector.networks
        if not on:
            return _members(pods)
        return tuple(sorted(member for pod in pods for member in self._interfaces.members(pod, on)))

    def _has_members(self, group: Group[Placed], node: NodeName) -> bool:
        """The group, which selects Pods on the node, has members there."""
        on = group.selector.networks
        if not on:
            return True
        pods = (pod for one in group.label_sets & self._on_nodes.placed(node).keys() for pod in one.on[node])
        return any(self._interfaces.is_on(pod, on) for pod in pods)


def _members(pods: list[Placed]) -> tuple[Member, ...]:
    """As members; sorted."""
    members = [pod.member for pod in pods]
    if len(members) > 1:
        members.sort(key=_name)
    return tuple(members)


_name = attrgetter("pod")
