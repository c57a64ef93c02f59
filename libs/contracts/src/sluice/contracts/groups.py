"""GROUPS: the members of each group, one page per group and node.

Since the members on one node are one message, a change of one Pod republishes a few kilobytes once, whatever the size
of the cluster. All values are whole; an empty body is a tombstone.
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
    """Its name in the Pod."""

    plugin: str = ""
    """Type of the network's CNI plugin; empty while the network is not known."""

    tagged: bool = False
    """It is a trunk: frames have VLAN tags."""

    pci: str = ""
    """PCI address of the device, where the plugin reports one."""

    representor: str = ""
    """The device's name on the host, where the plugin reports it."""

    attached: bool = False
    """The plugin has reported it. Until then it has no addresses."""


NO_ATTACHMENT = Attachment()


class Member(Struct, frozen=True, kw_only=True, order=True, omit_defaults=True, gc=False):
    """A Pod, an interface of a Pod, or a node in a group. Without an address it is a member all the same."""

    pod: str
    """namespace/name of the Pod; the node's name alone, in a group of nodes."""

    uid: Uid
    addresses: tuple[Address, ...] = ()
    ports: tuple[NamedPort, ...] = ()
    """Container ports that have a name; sorted."""

    attachment: Attachment = NO_ATTACHMENT
    """Unset for the Pod's own interface, on the cluster's network."""


class Page(Struct, frozen=True, kw_only=True, gc=False):
    """The group's members on this node: exactly these (`groups.<group>.<node>`)."""

    group: GroupId
    node: NodeName
    cause: Revision
    members: tuple[Member, ...]
    """Sorted, never empty: a page without members is a tombstone."""


class Own(Struct, frozen=True, kw_only=True, gc=False):
    """Ids of the shard's groups that have a page on the node (`groups._own.<node>.<shard>`).

    Stored after a new page and before an old one's tombstone.
    """

    node: NodeName
    shard: int
    cause: Revision
    groups: tuple[GroupId, ...]


class Local(Struct, frozen=True, kw_only=True, gc=False):
    """Every Pod of the node that has an interface of its own (`groups._local.<node>`)."""

    node: NodeName
    cause: Revision
    pods: tuple[Member, ...]
    interfaces: tuple[Member, ...] | None = None
    """Those Pods' interfaces on secondary networks, whether policies are about them or not; sorted.

    None, as writers before this field said: it is not told which there are, and nobody may be taken to have none.
    """


class NodeRoute(Struct, frozen=True, kw_only=True, gc=False):
    """What is reached by way of the node (`groups._route.<node>`). Every node reads all of them.

    One message a node, not one a Pod: a Pod's address says which node it is on, but for the strays.
    """

    node: NodeName
    cause: Revision
    addresses: tuple[Address, ...] = ()
    """The node's own (InternalIP), where its tunnels end; sorted."""

    pod_cidrs: tuple[str, ...] = ()
    """spec.podCIDRs; sorted."""

    strays: tuple[Address, ...] = ()
    """Addresses of the node's Pods that are in none of `pod_cidrs`; sorted."""


class Mark(Struct, frozen=True, kw_only=True, gc=False):
    """All that the shard derives from OBJECTS up to `upto` is stored, before this message in the same stream.

    `groups._mark.<shard>` and `programs._mark.<backend>.<shard>`.
    """

    shard: int
    shards: int
    """How many shards there are: a reader needs the mark of each of 0..shards-1."""

    upto: Revision
