"""A group's condition, as the status of its object."""

from sluice.policy.computed import CONDITION
from sluice.policy.computed import Condition as Membership
from sluice.policy.realisation.report import Condition, GroupStatus


def group_status(membership: Membership) -> GroupStatus:
    """The condition as the object's status."""
    condition = Condition(
        type=CONDITION,
        status="True" if membership.computed else "False",
        reason=membership.reason,
        message=membership.message,
    )
    return GroupStatus(conditions=(condition,))
