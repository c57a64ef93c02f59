"""Traces a packet's whole path by asking one node after the other."""

import msgspec
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeout
from nats.js.errors import NotFoundError

from sluice.contracts import codec, subjects
from sluice.contracts.ids import NEVER, NodeName
from sluice.contracts.objects import AnyObject
from sluice.contracts.tracing import FromNode, Trace, TraceQuestion, TraceRefused
from sluice.grouping.events import ObjectKey, read
from sluice.runtime.bus import Bus
from sluice.runtime.streams import NOT_OURS

ANSWER_S = 5.0
"""Seconds; a switch traces a packet in a few milliseconds."""


class NoTrace(Exception):
    """No node could trace the packet; the message says why."""


async def trace(bus: Bus, node: NodeName, question: TraceQuestion) -> tuple[Trace, ...]:
    """Trace the packet on the node, and then on the one node, if any, that it reaches through the tunnel.

    Raises:
        NoTrace
    """
    here = await _ask(bus, node, question)
    if here.outcome != "Allowed" or not here.nodes:
        return (here,)
    onward = msgspec.structs.replace(question, begin=FromNode(node=node), packet=here.packet)
    return here, *[await _ask(bus, there, onward) for there in here.nodes]


async def object_of(bus: Bus, key: ObjectKey) -> AnyObject | None:
    """The object as stored on the bus; None if there is none.

    Raises:
        NoTrace: the bus holds no objects at all.
    """
    try:
        found = await bus.js.get_last_msg("OBJECTS", subjects.object_(*key), direct=True)
    except NotFoundError:
        return None
    except (NoRespondersError, NatsTimeout) as error:
        raise NoTrace(f"there is no stream OBJECTS; {NOT_OURS}") from error
    return read(key, found.data or b"", NEVER).object


async def _ask(bus: Bus, node: NodeName, question: TraceQuestion) -> Trace:
    try:
        answer = await bus.nc.request(subjects.trace(node), codec.encode(question), timeout=ANSWER_S)
    except NoRespondersError as error:
        raise NoTrace(f"node {node}: node-ovs does not run there, or is too old for this") from error
    except NatsTimeout as error:
        raise NoTrace(f"node {node}: node-ovs does not answer within {ANSWER_S:g} s") from error
    told = codec.decode(answer.data, Trace | TraceRefused)  # type: ignore[arg-type]  # a union is not a type
    if isinstance(told, TraceRefused):
        raise NoTrace(told.reason)
    return told
