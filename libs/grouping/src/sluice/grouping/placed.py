"""A live Pod as kept by the fold of members, once a group may select it."""

from sluice.contracts.groups import Member
from sluice.contracts.objects import Pod
from sluice.grouping.addresses import Claim
from sluice.grouping.bystanders import Aside, whole
from sluice.grouping.matching import LabelSet
from sluice.grouping.members import member_of


class Placed:
    """A live Pod on its node, in its label set. A Pod that changes gets a new object."""

    __slots__ = ("claimed", "created", "interfaces", "label_set", "member", "node")

    claimed: Member
    """The Pod with every address that it claims."""

    member: Member
    """The Pod with the addresses that it holds."""

    interfaces: tuple[Member, ...]
    """On secondary networks, with every address that they claim."""

    def __init__(self, pod: Pod, interfaces: tuple[Member, ...], label_set: LabelSet["Placed"]) -> None:
        self.claimed = self.member = member_of(pod)
        self.created = pod.metadata.creation_timestamp
        self.interfaces = interfaces
        self.label_set = label_set
        self.node = pod.node

    def equals(self, other: "Placed") -> bool:
        """Same members, label set, node and creation time."""
        same = self.claimed == other.claimed and self.interfaces == other.interfaces
        return same and self.stands_with(other) and self.created == other.created

    def stands_with(self, other: "Placed") -> bool:
        """They are on the same pages: same label set, node and networks."""
        same = self.label_set is other.label_set and self.node == other.node
        return same and (self.interfaces == other.interfaces or self.networks == other.networks)

    @property
    def networks(self) -> set[str]:
        """The networks of its interfaces."""
        return {interface.attachment.network for interface in self.interfaces}


def claim_of(one: Placed | Aside) -> Claim:
    """The Pod's claim to its addresses."""
    if isinstance(one, Placed):
        return Claim(one.created, one.claimed.uid, one.claimed.pod)
    pod = whole(one)
    return Claim(pod.metadata.creation_timestamp, pod.uid, f"{pod.metadata.namespace}/{pod.metadata.name}")
