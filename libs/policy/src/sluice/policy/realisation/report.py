"""How far a policy is in force, as the `status` of its object. Pure: the caller adds the times of conditions.

Source of phases and reasons: Antrea, pkg/apis/crd/v1beta1 (NetworkPolicyPhase, NetworkPolicyConditionType) and docs
"Antrea Network Policy CRDs". Unlike Antrea, we name each failing node with its error, and do not call a policy realised
if only part of it is in force.
"""

from enum import StrEnum
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from sluice.contracts.ids import NodeName

FAILED_ON_NODE = "NetworkPolicyRealizationFailedOnNode"
NOT_REALIZABLE = "NetworkPolicyNotRealizable"
"""It cannot be determined what the policy applies to, or its place in the order; the message says why."""

PARTLY_REALIZABLE = "NetworkPolicyPartlyRealizable"
"""Part of it is closed because it cannot be enforced as written; the message says what and why."""

NOT_TAKEN_IN = "NetworkPolicyNotTakenIn"
"""Its newest version was rejected; the previous one stays in force."""

WARNINGS = "Warnings"
"""The condition for probable mistakes; absent if there are none."""

_MOST_NODES = 10
_MOST_TEXT = 1_000  # characters; objects with many conditions must stay small


class Phase(StrEnum):
    PENDING = "Pending"
    """It is not known yet what it applies to, or it applies to nothing because it cannot be enforced."""

    REALIZING = "Realizing"
    """Not every node has it yet."""

    REALIZED = "Realized"
    FAILED = "Failed"
    """Every node has it or reports a failure, or part of it cannot be enforced."""


class Obstacle(Struct, frozen=True, kw_only=True):
    """Why a policy cannot be enforced as it is written, on any node."""

    reason: str
    """Machine-readable."""

    message: str


class Warned(Struct, frozen=True, kw_only=True):
    """What is probably not meant by a policy. It is in force all the same."""

    looked: bool = True
    """False: lint did not run; the message says why."""

    reason: str
    """Machine-readable."""

    message: str


class Realised(Struct, frozen=True, kw_only=True):
    """How far a policy is in force."""

    phase: Phase
    generation: int
    """`metadata.generation` of the object that this is about."""

    current: int = 0
    """Nodes that have it."""

    desired: int = 0
    """Nodes that should have it."""

    obstacle: Obstacle | None = None
    failing: tuple[tuple[NodeName, str], ...] = ()
    """Nodes that should have it but cannot, each with its error; sorted."""

    warning: Warned | None = None

    @property
    def complete(self) -> bool:
        """Whether it is in force as written, wherever it applies."""
        return self.phase is Phase.REALIZED


class Condition(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    type: str
    status: Literal["True", "False", "Unknown"]
    last_transition_time: str = ""
    """RFC 3339; empty until the caller fills it in."""

    reason: str = ""
    message: str = ""


class PolicyStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """The `status` of a policy's object."""

    phase: Phase
    observed_generation: int
    current_nodes_realized: int
    desired_nodes_realized: int
    conditions: tuple[Condition, ...]


class GroupStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """The `status` of a ClusterGroup or Group."""

    conditions: tuple[Condition, ...]


AnyStatus = PolicyStatus | GroupStatus


def policy_status(realised: Realised) -> PolicyStatus:
    """The `status` for the object."""
    return PolicyStatus(
        phase=realised.phase,
        observed_generation=realised.generation,
        current_nodes_realized=realised.current,
        desired_nodes_realized=realised.desired,
        conditions=tuple(_conditions(realised)),
    )


def _conditions(realised: Realised) -> list[Condition]:
    obstacle = realised.obstacle
    conditions = [
        Condition(type="Realizable", status="True")
        if obstacle is None
        else Condition(type="Realizable", status="False", reason=obstacle.reason, message=_short(obstacle.message))
    ]
    if realised.failing:
        failed = Condition(
            type="RealizationFailure", status="True", reason=FAILED_ON_NODE, message=failures(realised.failing)
        )
        conditions.append(failed)
    if (warning := realised.warning) is not None:
        status: Literal["True", "Unknown"] = "True" if warning.looked else "Unknown"
        conditions.append(
            Condition(type=WARNINGS, status=status, reason=warning.reason, message=_short(warning.message))
        )
    return conditions


def failures(failing: tuple[tuple[NodeName, str], ...]) -> str:
    """The failing nodes and their errors in one line."""
    told = ", ".join(f'"{node}": "{error}"' for node, error in failing[:_MOST_NODES])
    more = f", and {len(failing) - _MOST_NODES} more" if len(failing) > _MOST_NODES else ""
    return _short(f"{len(failing)} {'node fails' if len(failing) == 1 else 'nodes fail'}: {told}{more}")


def at(status: AnyStatus, before: tuple[Condition, ...], now: str) -> AnyStatus:
    """The status with times: unchanged conditions keep theirs from `before`, the others get `now`."""
    since = {(one.type, one.status): one.last_transition_time for one in before}
    timed = tuple(
        replace(one, last_transition_time=since.get((one.type, one.status)) or now) for one in status.conditions
    )
    return replace(status, conditions=timed)


def _short(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"
