"""The answer for one object, a policy or a group, as shown to users."""

from collections.abc import Mapping

from msgspec import Struct

from sluice.contracts import subjects
from sluice.contracts.kinds import Kind
from sluice.grouping.events import ObjectKey
from sluice.policy.computed import Condition as Membership
from sluice.policy.realisation.fold import Realisation
from sluice.policy.realisation.membership import group_status
from sluice.policy.realisation.report import AnyStatus, Realised, failures, policy_status


class Answer(Struct, frozen=True):
    """How far an object is in force."""

    said: Realised | Membership

    @property
    def complete(self) -> bool:
        """Whether it is in force as written, wherever it applies."""
        match self.said:
            case Realised():
                return self.said.complete
            case Membership():
                return self.said.computed

    @property
    def phase(self) -> str:
        match self.said:
            case Realised(phase=phase):
                return str(phase)
            case Membership(computed=computed):
                return "Computed" if computed else "NotComputed"

    @property
    def nodes(self) -> str:
        """The nodes that have it out of those that should, as "2/3"; empty for groups."""
        match self.said:
            case Realised(current=current, desired=desired):
                return f"{current}/{desired}"
            case Membership():
                return ""

    @property
    def why(self) -> str:
        """What keeps it from being complete, if known."""
        match self.said:
            case Realised(obstacle=obstacle, failing=failing):
                return "; ".join([*([obstacle.message] if obstacle else []), *([failures(failing)] if failing else [])])
            case Membership(message=message):
                return message

    @property
    def warning(self) -> str:
        """What is probably a mistake; empty if nothing is known."""
        match self.said:
            case Realised(warning=warning) if warning is not None:
                return warning.message
            case _:
                return ""

    def words(self) -> str:
        """The answer as one line, to follow the object's name."""
        nodes = f" on {self.nodes} nodes" if self.nodes else ""
        return f"is {self.phase}{nodes}" + (f": {self.why}" if self.why else "")

    def as_object(self) -> AnyStatus:
        """The answer as the status of its Kubernetes object."""
        match self.said:
            case Realised():
                return policy_status(self.said)
            case Membership():
                return group_status(self.said)


def answers(fold: Realisation) -> Mapping[ObjectKey, Answer]:
    """The answers for every policy and group."""
    keys = [ObjectKey(*subjects.unit_parts(unit)) for unit in fold.policies]
    keys += [
        ObjectKey(Kind.GROUP if namespace else Kind.CLUSTER_GROUP, namespace, name) for namespace, name in fold.groups
    ]
    told = ((key, answer(fold, key)) for key in keys)
    return {key: found for key, found in told if found is not None}


def answer(fold: Realisation, key: ObjectKey) -> Answer | None:
    """The answer for one object; None if there is no such policy or group."""
    if key.kind in (Kind.GROUP, Kind.CLUSTER_GROUP):
        membership = fold.membership((key.namespace, key.name))
        return Answer(membership) if membership is not None else None
    realised = fold.realised(subjects.unit(*key))
    return Answer(realised) if realised is not None else None
