"""STORM: the server is killed and comes back under 200 nodes: until each has read again, and has what came meanwhile.

All of them are in this process, with a connection each: most of the time is the clients', and nodes have own cores.
"""

import asyncio
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path

from tests.bench.figures import Figure, show

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Mark, Member, Page
from sluice.contracts.ids import GroupId, NodeName, Revision, Uid
from sluice.runtime.bus import Bus
from sluice.runtime.interest import Interest
from sluice.runtime.message import Message
from sluice.runtime.natsserver import NatsServer
from sluice.runtime.output import Output

NODES = 200
GROUPS = 20
TARGET_S = 10.0
MARK = subjects.group_mark(0)


def page(group: int, cause: int) -> Page:
    member = Member(pod=f"x/p{cause}", uid=Uid(f"u{cause}"))
    return Page(group=GroupId(f"g{group}"), node=NodeName("n"), cause=Revision(1, cause), members=(member,))


async def store(output: Output, cause: int) -> None:
    """All pages say this cause, and so does the mark."""
    for group in range(GROUPS):
        output.put(subjects.page(GroupId(f"g{group}"), NodeName("n")), page(group, cause))
    output.mark(MARK, Mark(shard=0, shards=1, upto=Revision(1, cause)))
    await output.settled()


async def read(interest: Interest, cause: int) -> set[str]:
    """The Pods of all pages, as they were told when the mark said this cause."""
    held: dict[str, str] = {}
    async for event in interest:
        match event:
            case Message(subject=subject, body=body) if subject == MARK:
                if codec.decode(body, Mark).upto >= Revision(1, cause):
                    return set(held.values())
            case Message(subject=subject, body=body):
                held[subject] = codec.decode(body, Page).members[0].pod
            case _:
                pass
    raise AssertionError("it does not end")


async def storm(folder: Path, nodes: int) -> tuple[float, list[set[str]]]:
    """Seconds from the server's return until all have what was stored after it; and what each was told by then."""
    server = await NatsServer.start(folder / "nats")
    async with AsyncExitStack() as open_:
        bus = await open_.enter_async_context(await Bus.connect(server.url, name="writer"))
        output = await open_.enter_async_context(await Output.open(bus, "GROUPS", ["groups.>"]))
        await store(output, 1)
        interests = []
        for number in range(nodes):
            own = await open_.enter_async_context(await Bus.connect(server.url, name=f"n{number}"))
            interests.append(await open_.enter_async_context(Interest(own)))
            interests[-1].want([*(f"groups.g{group}.*" for group in range(GROUPS)), subjects.GROUP_MARKS])
        async with asyncio.timeout(120):
            await asyncio.gather(*(read(interest, 1) for interest in interests))
            await server.kill()
            await server.restart()
            started = time.perf_counter()
            told, _ = await asyncio.gather(
                asyncio.gather(*(read(interest, 2) for interest in interests)), store(output, 2)
            )
            took = time.perf_counter() - started
    await server.stop()
    return took, list(told)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        took, told = asyncio.run(storm(Path(folder), NODES))
    assert told == [{"x/p2"}] * NODES, "a node was given a mark before a page that it vouches for"
    show(Figure("STORM", f"{NODES} nodes reconnect, until each has read again", took, "s", None, TARGET_S))


if __name__ == "__main__":
    main()
