"""Reads the newest STATS of every node, once."""

from nats.js.api import ConsumerConfig, DeliverPolicy

from sluice.contracts import codec, subjects
from sluice.contracts.ids import Backend, NodeName
from sluice.contracts.stats import NodeStats
from sluice.runtime.bus import Bus

_ARRIVES_S = 5.0
"""For what the server says that it has."""


async def newest(bus: Bus, backend: Backend) -> tuple[NodeStats, ...]:
    """What each node counted, as of its last message; by node.

    Raises:
        codec.Undecodable: a message says something else.
        TimeoutError, nats.js.errors.Error: the bus is away, or has no such stream.
    """
    subject = subjects.stats(NodeName("*"), backend)
    reading = await bus.js.subscribe(
        subject, ordered_consumer=True, config=ConsumerConfig(deliver_policy=DeliverPolicy.LAST_PER_SUBJECT)
    )
    try:
        info = await reading.consumer_info()
        delivered = info.delivered.consumer_seq if info.delivered else 0
        more = bool(info.num_pending or delivered)
        found = []
        while more:
            message = await reading.next_msg(timeout=_ARRIVES_S)
            found.append(codec.decode(message.data, NodeStats))
            more = message.metadata.num_pending > 0
        return tuple(sorted(found, key=lambda one: one.node))
    finally:
        await reading.unsubscribe()
