"""Three servers and identities: what accounts import works through each of them, wherever a stream's leader is."""

import asyncio
from pathlib import Path

import pytest
from tests.integration.natscluster import NatsCluster

from sluice.contracts import identities, subjects
from sluice.contracts.identities import OPERATOR, OWNER, Identity
from sluice.contracts.ids import GroupId, NodeName, Revision
from sluice.runtime import keyring, streams
from sluice.runtime.bus import Bus, Limits
from sluice.runtime.interest import Answered, Interest
from sluice.runtime.keyring import Keyring
from sluice.runtime.message import Message
from sluice.runtime.output import Output

LIMITS = Limits(max_bytes=64 << 20, replicas=3)
OLD, NEW = NodeName("node-1"), NodeName("node-2")
PAGES = 200


async def pages_read(bus: Bus) -> int:
    """Many answers to one question."""
    interest, found = Interest(bus, resync_s=60), 0
    interest.want([f"groups.*.{OLD}"])
    async for event in interest:
        match event:
            case Message():
                found += 1
            case Answered():
                break
    return found


@pytest.mark.timeout(240)
async def test_every_server_serves_every_identity(tmp_path: Path) -> None:
    ring = Keyring.create(tmp_path / "keys", ["127.0.0.1"], keyring.now(), client_certificates=True)
    ring.add(keyring.everybody([OLD]), keyring.now())
    cluster = await NatsCluster.start(tmp_path / "nats", guarded=ring.server / keyring.CONFIGURATION)

    async def bus(url: str, identity: Identity) -> Bus:
        credentials = ring.credentials(identity)
        return await Bus.connect(url, name=identity.text, limits=LIMITS, credentials=credentials)

    try:
        async with (
            asyncio.timeout(200),
            await bus(cluster.url, OWNER) as owner,
            await bus(cluster.url, OPERATOR) as person,
        ):
            await streams.ensure(owner)
            async with (
                await bus(cluster.members[1].url, Identity("service", "group-resolver")) as resolver,
                await Output.open(resolver, "GROUPS", ["groups.>"]) as groups,
            ):
                for number in range(PAGES):
                    groups.put(subjects.page(GroupId(f"g{number}"), OLD), b"{}", Revision(1, 1))
                await groups.settled()
            ring.add([identities.node(NEW)], keyring.now())
            for member in cluster.members:
                await member.reconfigure()
                await member.whole()
            for number, member in enumerate(cluster.members):
                for name in (OLD, NEW):
                    subject = subjects.status(name, "ovs")
                    async with await bus(member.url, identities.node(name)) as node:
                        assert await pages_read(node) == PAGES
                        async with await Output.open(node, "STATUS", [subject]) as status:
                            status.put(subject, b'{"server":%d}' % number, Revision(1, 1))
                            await status.settled()
                        assert node.denied == set()
            told = (await person.js.stream_info("STATUS", subjects_filter=">")).state.subjects
            assert told == {subjects.status(name, "ovs"): 1 for name in (OLD, NEW)}
    finally:
        await cluster.stop()
