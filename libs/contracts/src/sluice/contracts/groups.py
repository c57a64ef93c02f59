"""GROUPS: the members of each group, one page per group and node.

Since the members on one node are one message, a change of one Pod republishes a few kilobytes once, whatever the size
of the cluster. All values are complete, not deltas; an empty body is a tombstone.
"""

from msgspec import Struct

from sluice.contracts.ids import Address, GroupId, NodeName, Revision, Uid
from sluice.contracts.objects import Protocol


class NamedPort(Struct, frozen=True, kw_only=True, order=True, gc=False):
    name: str
    protocol: Protocol
    port: int


class Attachment(Struct, frozen=True, kw_only=True, order=True, omit_defaults=True, gc=False):
    """An interface of a Pod on a secondary network."""

    network: str = ""
    """namespace/name of its NetworkAttachmentDefinition."""

    interface: str = ""
    """Name of the interface in the Pod."""

    plugin: str = ""
    """Type of the network's CNI plugin; empty until the network is known."""

    tagged: bool = False
    """The interface is a trunk: frames have VLAN tags."""

    pci: str = ""
    """PCI address of the device, if the plugin reports one."""

    representor: str = ""
    """Name of the device on the host, if the plugin reports it."""

    attached: bool = False
    """The plugin has reported the interface. Until then it has no addresses."""


NO_ATTACHMENT = Attachment()


class Member(Struct, frozen=True, kw_only=True, order=True, omit_defaults=True, gc=False):
    """A Pod, an interface of a Pod, or a node in a group. It is a member even without an address."""

    pod: str
    """namespace/name of the Pod; in a group of nodes, the name of the node."""

    uid: Uid
    addresses: tuple[Address, ...] = ()
    ports: tuple[NamedPort, ...] = ()
    """Named container ports; sorted."""

    attachment: Attachment = NO_ATTACHMENT
    """Unset for the Pod's primary interface, on the cluster's network."""


class Page(Struct, frozen=True, kw_only=True, gc=False):
    """The complete list of the group's members on this node (`groups.<group>.<node>`)."""

    group: GroupId
    node: NodeName
    cause: Revision
    members: tuple[Member, ...]
    """Sorted and never empty: a page without members is a tombstone."""


class Own(Struct, frozen=True, kw_only=True, gc=False):
    """Ids of the shard's groups that have a page on the node (`groups._own.<node>.<shard>`).

    Stored after a new page, and before the tombstone of an old one.
    """

    node: NodeName
    shard: int
    cause: Revision
    groups: tuple[GroupId, ...]


class Local(Struct, frozen=True, kw_only=True, gc=False):
    """All Pods of the node that are not on the host network (`groups._local.<node>`)."""

    node: NodeName
    cause: Revision
    pods: tuple[Member, ...]
    interfaces: tuple[Member, ...] | None = None
    """Interfaces of these Pods on secondary networks, whether or not a policy selects them; sorted.

    None, from writers that predate this field, means unknown: a reader must not conclude that a Pod has none.
    """


class NodeRoute(Struct, frozen=True, kw_only=True, gc=False):
    """The addresses that are reached through the node (`groups._route.<node>`). Every node reads all of these messages.

    One message per node, not per Pod: the address of a Pod tells which node it is on, except for the strays.
    """

    node: NodeName
    cause: Revision
    addresses: tuple[Address, ...] = ()
    """The node's own InternalIPs, its tunnel endpoints; sorted."""

    pod_cidrs: tuple[str, ...] = ()
    """spec.podCIDRs of the Node; sorted."""

    strays: tuple[Address, ...] = ()
    """Addresses of the node's Pods outside of `pod_cidrs`; sorted."""


class Mark(Struct, frozen=True, kw_only=True, gc=False):
    """Everything that the shard derives from OBJECTS up to `upto` is stored before this message, in the same stream.

    `groups._mark.<shard>` and `programs._mark.<backend>.<shard>`.
    """

    shard: int
    shards: int
    """Number of shards: a reader needs a mark from each of 0..shards-1."""

    upto: Revision
