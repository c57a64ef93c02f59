"""Asks nodes what they hold and which rule it belongs to, and finds when that rule last changed."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from sluice.contracts import codec, subjects
from sluice.contracts.explaining import (
    AnyAnswer,
    AnyQuestion,
    ExplainQuestion,
    ExplainRefused,
    Explanation,
    HeldPage,
    HeldQuestion,
)
from sluice.contracts.ids import Backend, NodeName, Revision, Unit
from sluice.contracts.programs import Direction
from sluice.contracts.streams import LEDGER
from sluice.contracts.tracing import DecidingRule
from sluice.grouping.events import ObjectKey
from sluice.policy.blaming import Version, since
from sluice.policy.past import cluster
from sluice.policy.state import ClusterState
from sluice.runtime import past
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.message import Message

ANSWER_S = 5.0
"""Timeout for one flow: a node looks it up in milliseconds."""

LISTED_S = 20.0
"""Timeout for a listing: the node may have to sort 100,000 flows first, beside its other work."""

AT_ONCE = 50
"""Number of nodes asked at the same time."""


class NoExplanation(Exception):
    """No node knows its owner, or several nodes disagree; the message says why, and what to do."""


class NoAnswer(Exception):
    """The node does not tell what its backend holds; the message says why."""


class Silent(NoAnswer):
    """There is no responder for the backend on the node."""


class Blame(NamedTuple):
    """The ledger entry that made something what it is."""

    revision: Revision
    time_ns: int


async def explain(bus: Bus, nodes: Iterable[NodeName], backend: Backend, flow: str) -> Explanation:
    """The nodes' explanation; one that names an owner takes precedence over one that only says what it is.

    Raises:
        NoExplanation
    """
    found: list[Explanation] = []
    refusals: list[str] = []
    asked = list(nodes)
    for begin in range(0, len(asked), AT_ONCE):
        answers = (_explain(bus, node, backend, flow) for node in asked[begin : begin + AT_ONCE])
        for answer in await asyncio.gather(*answers):
            if isinstance(answer, Explanation):
                found.append(answer)
            else:
                refusals.append(answer)
    if not found:
        raise NoExplanation("; ".join(dict.fromkeys(refusals)) or "no node has reported a status yet")
    owned = [one for one in found if one.owned] or found[:1]
    others = [one for one in owned if _whose(one) != _whose(owned[0])]
    if others:
        named = ", ".join(one.node for one in (owned[0], *others))
        raise NoExplanation(f"nodes {named} each hold one like this, for different policies; choose one with --node")
    return owned[0]


async def _explain(bus: Bus, node: NodeName, backend: Backend, flow: str) -> Explanation | str:
    try:
        told = await _ask(bus, node, backend, ExplainQuestion(flow=flow))
    except NoAnswer as error:
        return str(error)
    assert isinstance(told, Explanation), told
    return told


async def held(bus: Bus, node: NodeName, backend: Backend, after: str = "", limit: int = 500) -> HeldPage:
    """One page of what the backend holds on the node.

    Raises:
        NoAnswer; its subclass Silent if there is no responder
    """
    told = await _ask(bus, node, backend, HeldQuestion(after=after, limit=limit), LISTED_S)
    assert isinstance(told, HeldPage), told
    return told


async def _ask(
    bus: Bus, node: NodeName, backend: Backend, question: AnyQuestion, timeout_s: float = ANSWER_S
) -> AnyAnswer:
    try:
        answer = await bus.nc.request(subjects.explain(node, backend), codec.encode(question), timeout=timeout_s)
    except NoRespondersError as error:
        raise Silent(f"node {node}: node-{backend} does not run there, or is too old for this") from error
    except NatsTimeout as error:
        raise Silent(f"node {node}: node-{backend} does not answer within {timeout_s:g} s") from error
    told: AnyAnswer = codec.decode(answer.data, AnyAnswer)  # type: ignore[arg-type]  # a union is not a type
    if isinstance(told, ExplainRefused):
        raise NoAnswer(told.reason)
    return told


def _whose(told: Explanation) -> tuple[object, ...]:
    rules = {(rule.policy, rule.direction, rule.index) for rule in told.rules}
    objects = {(one.kind, one.namespace, one.name) for one in told.objects}
    return rules, told.pods, told.services, objects


async def decided(
    bus: Bus, at_us: int, unit: Unit | None, find: Callable[[ClusterState], Sequence[DecidingRule]]
) -> tuple[Sequence[DecidingRule], int]:
    """What `find` returns for the objects as of the time of a log line, and the ledger sequence of that time.

    If it finds nothing and the line names a policy, the policy may have been deleted but still enforced; its last
    version is used then.

    Raises:
        TooOld: the ledger does not reach back to the line.
    """
    upto = await past.sequence_at(bus, (at_us + 1) * 1_000 - 1)
    there = await past.moment(bus, upto)
    found = find(cluster(there.held, there.epoch))
    if not found and unit is not None:
        versions = [one for one in await _versions(bus, ObjectKey(*subjects.unit_parts(unit)), upto) if one.body]
        if versions:
            upto = versions[-1].revision.sequence
            there = await past.moment(bus, upto)
            found = find(cluster(there.held, there.epoch))
    return found, upto


async def blame(bus: Bus, key: ObjectKey, upto: int, direction: Direction | None, index: int | None) -> Blame | None:
    """The entry that made the rule what it is at `upto`; without an index, the entry for the whole object.

    None if the ledger does not reach back that far.
    """
    found = since(await _versions(bus, key, upto), direction, index)
    return Blame(found.revision, found.time_ns) if found else None


async def _versions(bus: Bus, key: ObjectKey, upto: int) -> list[Version]:
    """The versions of the object in the ledger, up to this entry."""
    versions: list[Version] = []
    async with follow(bus, LEDGER.name, (subjects.object_(*key),)) as events:
        async for event in events:
            match event:
                case Message(body=body, revision=revision, time_ns=time_ns):
                    if revision.sequence <= upto:
                        versions.append(Version(revision, time_ns, body))
                case CaughtUp():
                    break
                case NewEpoch():
                    versions.clear()
    return versions
