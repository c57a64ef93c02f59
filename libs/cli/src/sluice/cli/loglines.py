"""Log lines for `sluice explain`: their meaning, and their rules according to the objects at the time."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from sluice.cli import options


class Said(NamedTuple):
    """What is known about a line."""

    told: dict[str, Any]
    rules: Sequence[Any] = ()
    """DecidingRules, as they were when the line was written."""

    upto: int = 0
    """The last ledger entry at that time."""


async def np_log(bus: Any, text: str) -> Said | None:
    """A line of np.log; None if it is something else."""
    from sluice.contracts.audit import Loss
    from sluice.dataplane.audit import np_line
    from sluice.policy.decided import decided

    try:
        line = np_line.read(text)
    except np_line.NotALine:
        return None
    if isinstance(line, Loss):
        return Said({"kind": "np.log", "says": f"{line.lines} lines are missing: {line.reason}"})
    rules, upto = await _then(bus, line.at_us, line.unit, lambda cluster: decided(cluster, line))
    if not rules:
        policy = line.policy if line.unit else f"a policy that isolates {line.applied_to}"
        options.refuse(
            [f"{policy}: the ledger had no such {f'rule {line.rule}' if line.rule else 'rule'} at that time"]
        )
    says = f"{line.action} in {line.table}, for {line.applied_to or 'a Pod'}"
    return Said({"kind": "np.log", "says": says}, rules, upto)


LATE_S = (0, 2, 10, 60, 600)
"""Possible delays in seconds between an event's cause and the event: the engine may log a connection only when it gives
it up, and the rule may be gone by then."""


def event(text: str) -> Any:  # Any: an Inspection, which is imported lazily
    """An event of eve.json; None if it is something else."""
    from sluice.dataplane.audit import eve
    from sluice.dataplane.audit.np_line import NotALine

    try:
        return eve.read(text.encode())
    except NotALine:
        return None


async def eve_log(bus: Any, line: Any, found: Any, why: str) -> Said:
    """What an event of eve.json means.

    Args:
        found: the node's answer about the event's tenant, or None.
        why: the reason why there is none.
    """
    from sluice.contracts import subjects
    from sluice.policy.decided import named

    became = {True: "was allowed", False: "was denied", None: "is kept"}[line.allowed]
    about = line.url or line.sni or f"a {line.event}"
    told = {"kind": "eve.json", "says": f"{line.event}: {about} from {line.source} to {line.destination} {became}"}
    if found is not None:
        told |= {"node": found.node, "places": found.places}
    rules: list[Any] = []
    upto = 0
    for late_s in LATE_S:
        for rule in found.rules if found is not None else ():
            unit = subjects.unit(rule.policy.kind, rule.policy.namespace, rule.policy.name)
            if line.unit in (None, unit):
                at_us = line.at_us - late_s * 1_000_000
                some, upto = await _then(bus, at_us, unit, _named(named, unit, rule), maybe=late_s > 0)
                rules += some
        if rules or line.unit is not None:
            break
    if not rules and line.unit is None:
        options.refuse([why or "the ledger had none of the tenant's rules at that time"])
    return Said(told, rules, upto)


def _named(named: Any, unit: Any, rule: Any) -> Callable[[Any], Sequence[Any]]:
    return lambda cluster: named(cluster, unit, rule.direction, rule.name)


async def _then(
    bus: Any, at_us: int, unit: Any, find: Callable[[Any], Sequence[Any]], *, maybe: bool = False
) -> tuple[Sequence[Any], int]:
    """The rules found in the ledger at that time; with `maybe`, none if the ledger does not go back that far."""
    from sluice.ledger.history import TooOld
    from sluice.runtime import explaining

    try:
        return await explaining.decided(bus, at_us, unit, find)
    except TooOld as error:
        if maybe:
            return (), 0
        options.refuse([f"it is no longer known what was in force when the line was written: {error}"])
