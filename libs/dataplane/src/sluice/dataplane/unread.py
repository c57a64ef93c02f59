"""What a node holds for a program of a later version that it cannot fully read: unknown parts are closed.

If a rule is understood in part, an Allow or Pass matches only that part, and a Drop or Reject matches everything in
place of the unknown part. A program that is not understood at all drops everything, for its own members only.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import msgspec

from sluice.contracts import codec, subjects
from sluice.contracts.ids import ALL_NODES, Backend, GroupId, Revision, Uid, Unit
from sluice.contracts.kinds import POLICIES, SELF_CONTAINED
from sluice.contracts.l7 import L7Match
from sluice.contracts.programs import K8S_TIER, Action, Direction, Origin, Peer, Program, Rule, ServiceRef, Traffic
from sluice.contracts.status import Problem

T = TypeVar("T")

_OPENS = frozenset((Action.ALLOW, Action.PASS))
_BOTH = tuple(Direction)
_L7 = tuple[L7Match, ...]


class Unread(NamedTuple):
    """The newest program of a unit for a group does not decode."""

    why: str
    kept: bool
    """The previous program stays in force; otherwise the closed form is."""


def problem(unit: Unit, unread: Unread) -> Problem:
    """The problem that the node reports."""
    instead = "the previous rules stay in force" if unread.kept else "what it does not understand is closed"
    reason = (
        f"{unit}: this node cannot read its program, which another version wrote ({unread.why}); {instead}; upgrade "
        "the node"
    )
    return Problem(unit=unit, state="failed", reason=reason)


def closed_form(backend: Backend, group: GroupId, unit: Unit, body: bytes, cause: Revision) -> Program | None:
    """The part of the program that is understood; None if it is not a policy's, since then nothing needs closing."""
    kind, namespace, name = subjects.unit_parts(unit)
    if kind not in POLICIES:
        return None
    found = _read(body, dict[str, Any]) or {}
    isolates = _as(found.get("isolates", []), tuple[Direction, ...])
    given = found.get("rules", [])
    rules = tuple(rule for at, one in enumerate(given) for rule in _rules(at, one)) if _is_list(given) else None
    if rules is not None and isolates is not None:
        whole = {**found, "rules": [], "isolates": [], "unit": unit, "applied_to": group}
        program = _as(whole, Program)
        if program is not None:
            return msgspec.structs.replace(program, rules=rules, isolates=isolates)
    alone = kind in SELF_CONTAINED
    return Program(
        unit=unit,
        applied_to=group,
        cause=cause,
        origin=Origin(kind=kind, namespace=namespace, name=name, uid=Uid("")),
        tier=K8S_TIER if alone else 0,
        priority=0,
        rules=() if alone or group == ALL_NODES else tuple(map(_closed, _BOTH)),
        isolates=_BOTH if alone else (),
        about_nodes=backend == "host",
    )


def _rules(at: int, given: Any) -> Iterator[Rule]:  # Any: JSON
    """The replacements of one rule of a program, in each direction that it may have."""
    if (rule := _as(given, Rule)) is not None:
        yield rule
        return
    fields = given if isinstance(given, dict) else {}
    index, direction = _as(fields.get("index"), int), _as(fields.get("direction"), Direction)
    action = _as(fields.get("action"), Action) or Action.DROP
    if action in _OPENS and "l7" in fields and _as(fields["l7"], _L7) is None:
        action = Action.DROP  # a layer 7 rule refuses what it does not allow
    opens = action in _OPENS
    services = _as(fields["services"], tuple[ServiceRef, ...]) if fields.get("services") else None
    if fields.get("services") and services is None:
        return  # on every node, about unknown NodePorts: there is nothing to close
    for each in (direction,) if direction else () if opens else _BOTH:
        yield Rule(
            index=at if index is None else index,
            direction=each,
            action=action,
            peers=_known(fields.get("peers"), Peer, opens=opens) if direction else None,
            traffic=_known(fields.get("traffic"), Traffic, opens=opens),
            l7=_as(fields.get("l7"), _L7) if opens else None,
            services=services,
            name=_as(fields.get("name"), str) or "",
            logs=fields.get("logs") is True,
            log_label=_as(fields.get("log_label"), str) or "",
        )


def _known(given: Any, kind: Any, *, opens: bool) -> tuple[Any, ...] | None:  # Any: JSON, a union, its members
    """Members of a union that are understood; None (all) if a rule that denies has one that is not."""
    if given is None:
        return None
    read = [_as(one, kind) for one in given] if _is_list(given) else [None]
    known = tuple(one for one in read if one is not None)
    return known if opens or len(known) == len(read) else None


def _closed(direction: Direction) -> Rule:
    return Rule(index=0, direction=direction, action=Action.DROP)


def _is_list(given: Any) -> bool:  # Any: JSON
    return isinstance(given, list)


def _read(body: bytes, kind: type[T]) -> T | None:
    try:
        return codec.decode(body, kind)
    except codec.Undecodable:
        return None


def _as(given: Any, kind: type[T]) -> T | None:  # Any: JSON
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError:
        return None
