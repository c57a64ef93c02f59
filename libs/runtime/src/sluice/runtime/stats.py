"""Reads the newest STATS of every node, once."""

from nats.js.api import ConsumerConfig, DeliverPolicy

from sluice.contracts import codec, subjects
from sluice.contracts.ids import Backend, NodeName
from sluice.contracts.stats import NodeStats
from sluice.runtime.bus import Bus

_ARRIVES_S = 5.0
"""Seconds to wait for a message that the server reported as pending."""


async def newest(bus: Bus, backend: Backend) -> tuple[NodeStats, ...]:
    """The counters of each node from its last message, sorted by node.

    Raises:
        codec.Undecodable: a message does not decode.
        TimeoutError, nats.js.errors.Error: the bus is down, or the stream does not exist.
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
