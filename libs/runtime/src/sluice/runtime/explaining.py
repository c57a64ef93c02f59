"""Whose a flow is, asked of nodes; and since when the rule behind it is as it is."""

from collections.abc import Iterable
from typing import NamedTuple

from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout

from sluice.contracts import codec, subjects
from sluice.contracts.explaining import ExplainQuestion, ExplainRefused, Explanation
from sluice.contracts.ids import Backend, NodeName, Revision
from sluice.contracts.programs import Direction
from sluice.contracts.streams import LEDGER
from sluice.grouping.events import ObjectKey
from sluice.policy.blaming import Version, since
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.message import Message

ANSWER_S = 5.0
"""A node looks a flow up in milliseconds."""


class NoExplanation(Exception):
    """No node says whose it is; the message says why."""


class Blame(NamedTuple):
    """An entry of the ledger with which something became what it is."""

    revision: Revision
    time_ns: int


async def explain(bus: Bus, nodes: Iterable[NodeName], backend: Backend, flow: str) -> Explanation:
    """The first answer that names rules, Pods or Services; else the first answer.

    Raises:
        NoExplanation
    """
    found: Explanation | None = None
    refusals: list[str] = []
    for node in nodes:
        try:
            answer = await bus.nc.request(
                subjects.explain(node, backend), codec.encode(ExplainQuestion(flow=flow)), timeout=ANSWER_S
            )
        except (NoRespondersError, NatsTimeout):
            refusals.append(f"node {node}: its programmer does not answer")
            continue
        told = codec.decode(answer.data, Explanation | ExplainRefused)  # type: ignore[arg-type]  # a union is no type
        if isinstance(told, ExplainRefused):
            refusals.append(told.reason)
        elif told.rules or told.pods or told.services:
            return told
        else:
            found = found or told
    if found is None:
        raise NoExplanation("; ".join(dict.fromkeys(refusals)) or "no node has said anything yet")
    return found


async def blame(bus: Bus, key: ObjectKey, upto: int, direction: Direction | None, index: int | None) -> Blame | None:
    """The entry with which the rule became what it is at `upto`; without an index, the whole object.

    None if the ledger does not reach back to it.
    """
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
    found = since(versions, direction, index)
    return Blame(found.revision, found.time_ns) if found else None
