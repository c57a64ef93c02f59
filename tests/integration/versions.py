"""The next version, made up: all that is on the bus, with fields, kinds and subjects that this one never heard of."""

import asyncio
from typing import Any

from sluice.contracts import codec
from sluice.contracts.streams import CAUSE_HEADER, cause_text
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, follow
from sluice.runtime.message import Message

STRANGE = {
    "LEDGER": ["objects.futurekinds.x.a", "objects._future.pods"],
    "GROUPS": ["groups._future.n1", "groups._mark.0.more"],
    "PROGRAMS": ["programs.future.g1.u", "programs._future.ovs.0", "programs._mark.future.0"],
    "STATUS": ["status._future.x", "status.n1.future", "status.n1.ovs.future"],
    "STATS": ["stats.n1.future", "stats.n1.ovs.future"],
    "AUDIT": ["audit.n1.np.future"],
    "CHECKPOINTS": ["ledger._future.1", "ledger._checkpoint.1.2.3"],
    "MULTICAST": ["multicast.n1.future"],
    "ACTIONS": ["actions.future.one"],
}
"""Subjects of the next version."""

FUTURE = {"fromTheFuture": {"nested": [1, None]}, "zz_version": "v9", "zz_count": 3}
"""Fields of the next version."""


def of_the_future(value: Any) -> Any:  # Any: JSON
    """The same with fields more in each of its objects."""
    match value:
        case dict():
            return {name: _keeps_names(name, each) for name, each in value.items()} | FUTURE
        case list():
            return [of_the_future(each) for each in value]
        case _:
            return value


def of_this_version(value: Any) -> Any:  # Any: JSON
    """The same without what `of_the_future` adds."""
    match value:
        case dict():
            return {name: of_this_version(each) for name, each in value.items() if name not in FUTURE}
        case list():
            return [of_this_version(each) for each in value]
        case _:
            return value


def _keeps_names(name: str, value: Any) -> Any:  # Any: JSON
    """Labels and annotations are maps from any text to text: a name more in there would say something."""
    return value if name in ("labels", "matchLabels", "annotations", "nodeSelector") else of_the_future(value)


def later(value: object) -> bytes:
    """The bytes of the value as the next version writes it."""
    return codec.encode(of_the_future(codec.decode(codec.encode(value), dict[str, Any])))  # Any: JSON


async def write_again(bus: Bus, stream: str) -> None:
    """The next version stores what the stream holds, in its own words."""
    for message in await held(bus, stream):
        if message.body:
            body = codec.encode(of_the_future(codec.decode(message.body, dict[str, Any])))  # Any: JSON
            headers = {CAUSE_HEADER: cause_text(message.cause), "Sluice-Future": "yes"}
            await bus.js.publish(message.subject, body, headers=headers)


async def write_strange(bus: Bus, stream: str) -> None:
    """And subjects of its own."""
    for subject in STRANGE[stream]:
        await bus.js.publish(subject, b'{"fromTheFuture":1}')


async def held(bus: Bus, stream: str) -> list[Message]:
    """What the stream holds, in order."""
    found = []
    async with asyncio.timeout(60), follow(bus, stream) as events:
        async for event in events:
            if isinstance(event, Message):
                found.append(event)
            elif isinstance(event, CaughtUp):
                return found
    raise AssertionError("a follower does not end")
