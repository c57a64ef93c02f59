"""A live Pod as the fold of members keeps it."""

from sluice.contracts.groups import Member
from sluice.contracts.objects import Pod
from sluice.grouping.addresses import Claim
from sluice.grouping.matching import LabelSet
from sluice.grouping.members import member_of


class Placed:
    """A live Pod on its node, in its label set; or as it is, while it is set aside. One that changes is another."""

    __slots__ = ("aside", "claimed", "created", "interfaces", "label_set", "member", "node")

    claimed: Member
    """With all the addresses that it claims."""

    member: Member
    """With those that it has."""

    interfaces: tuple[Member, ...]
    """With all the addresses that they claim."""

    created: str
    label_set: LabelSet["Placed"]

    def __init__(self, pod: Pod) -> None:
        self.aside: Pod | None = pod
        """The Pod, until it has a place; and that long the above is not worked out."""

        self.node = pod.node

    def place(self, pod: Pod, interfaces: tuple[Member, ...], label_set: LabelSet["Placed"]) -> None:
        self.claimed = self.member = member_of(pod)
        self.created = pod.metadata.creation_timestamp
        self.interfaces = interfaces
        self.label_set = label_set
        self.aside = None

    @property
    def claim(self) -> Claim:
        if self.aside is None:
            return Claim(self.created, self.claimed.uid, self.claimed.pod)
        member = member_of(self.aside)
        return Claim(self.aside.metadata.creation_timestamp, member.uid, member.pod)

    @property
    def present(self) -> Member:
        """What its node is told of it. Who is set aside has every address that it claims."""
        return member_of(self.aside) if self.aside else self.member

    def equals(self, other: "Placed") -> bool:
        """Both have a place, and are the same there."""
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
