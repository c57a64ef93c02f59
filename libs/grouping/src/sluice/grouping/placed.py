"""A live Pod as the fold of members keeps it, once a group may have it."""

from sluice.contracts.groups import Member
from sluice.contracts.objects import Pod
from sluice.grouping.addresses import Claim
from sluice.grouping.bystanders import Aside, whole
from sluice.grouping.matching import LabelSet
from sluice.grouping.members import member_of


class Placed:
    """A live Pod on its node, in its label set. One that changes is another."""

    __slots__ = ("claimed", "created", "interfaces", "label_set", "member", "node")

    claimed: Member
    """With all the addresses that it claims."""

    member: Member
    """With those that it has."""

    interfaces: tuple[Member, ...]
    """With all the addresses that they claim."""

    def __init__(self, pod: Pod, interfaces: tuple[Member, ...], label_set: LabelSet["Placed"]) -> None:
        self.claimed = self.member = member_of(pod)
        self.created = pod.metadata.creation_timestamp
        self.interfaces = interfaces
        self.label_set = label_set
        self.node = pod.node

    def equals(self, other: "Placed") -> bool:
        """They are the same in the same place."""
        same = self.claimed == other.claimed and self.interfaces == other.interfaces
        return same and self.stands_with(other) and self.created == other.created

    def stands_with(self, other: "Placed") -> bool:
        """They are on the same pages."""
        same = self.label_set is other.label_set and self.node == other.node
        return same and (self.interfaces == other.interfaces or self.networks == other.networks)

    @property
    def networks(self) -> set[str]:
        """Where its interfaces are."""
        return {interface.attachment.network for interface in self.interfaces}


def claim_of(one: Placed | Aside) -> Claim:
    """What decides who has an address."""
    if isinstance(one, Placed):
        return Claim(one.created, one.claimed.uid, one.claimed.pod)
    pod = whole(one)
    return Claim(pod.metadata.creation_timestamp, pod.uid, f"{pod.metadata.namespace}/{pod.metadata.name}")
