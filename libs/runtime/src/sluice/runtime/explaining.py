"""Asks nodes what they hold and to which rule it belongs, and finds since when that rule is as it is."""

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
"""A node looks a flow up in milliseconds."""

LISTED_S = 20.0
"""It may have to put 100,000 flows in order first, beside its work."""

AT_ONCE = 50
"""Nodes that are asked at the same time."""


class NoExplanation(Exception):
    """No node says whose it is, or several do and differ; the message says why, and what to do."""


class NoAnswer(Exception):
    """The node does not say what its backend holds. The message says why."""


class Silent(NoAnswer):
    """Nobody answers for the backend on the node."""


class Blame(NamedTuple):
    """An entry of the ledger with which something became what it is."""

    revision: Revision
    time_ns: int


async def explain(bus: Bus, nodes: Iterable[NodeName], backend: Backend, flow: str) -> Explanation:
    """What the nodes say of it. One that knows whose it is goes before those that only know what it is.

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
        raise NoExplanation("; ".join(dict.fromkeys(refusals)) or "no node has said anything yet")
    owned = [one for one in found if one.owned] or found[:1]
    others = [one for one in owned if _whose(one) != _whose(owned[0])]
    if others:
        named = ", ".join(one.node for one in (owned[0], *others))
        raise NoExplanation(f"nodes {named} each hold one that looks so, and not of the same; say which by --node")
    return owned[0]


async def _explain(bus: Bus, node: NodeName, backend: Backend, flow: str) -> Explanation | str:
    try:
        told = await _ask(bus, node, backend, ExplainQuestion(flow=flow))
    except NoAnswer as error:
        return str(error)
    assert isinstance(told, Explanation), told
    return told


async def held(bus: Bus, node: NodeName, backend: Backend, after: str = "", limit: int = 500) -> HeldPage:
    """What the backend holds on the node, a page of it.

    Raises:
        NoAnswer; Silent, if nobody is there to answer
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
        raise Silent(f"node {node}: node-{backend} does not run there, or is older than this") from error
    except NatsTimeout as error:
        raise Silent(f"node {node}: node-{backend} does not answer within {timeout_s:g} s") from error
    told: AnyAnswer = codec.decode(answer.data, AnyAnswer)  # type: ignore[arg-type]  # a union is no type
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
    """What is found among the objects as they were when a line was written, and the entry of the ledger of then.

    If nothing is, and the line names a policy, that policy may have been gone and still in force: it counts as it was.

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
    """The entry with which the rule became what it is at `upto`; without an index, the whole object.

    None if the ledger does not reach back to it.
    """
    found = since(await _versions(bus, key, upto), direction, index)
    return Blame(found.revision, found.time_ns) if found else None


async def _versions(bus: Bus, key: ObjectKey, upto: int) -> list[Version]:
    """Those that the ledger has of the object, up to this entry."""
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
