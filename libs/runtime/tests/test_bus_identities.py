"""Identities on a real server: what each may do is enough for it, and everything else is refused, said and counted."""

import asyncio
import gc
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing
from datetime import timedelta
from pathlib import Path

import nats.errors
import nats.js.errors
import pytest
from structlog.testing import capture_logs

from sluice.contracts import identities, subjects
from sluice.contracts.identities import OPERATOR, OWNER, Identity
from sluice.contracts.ids import NodeName, Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import Listed
from sluice.runtime import accounts, keyring, streams
from sluice.runtime.answering import answer
from sluice.runtime.authority import Authority
from sluice.runtime.bus import Bus, Limits
from sluice.runtime.credentials import Credentials
from sluice.runtime.facts import facts
from sluice.runtime.health import Health
from sluice.runtime.interest import Answered, Interest
from sluice.runtime.keyring import Keyring
from sluice.runtime.lease import Lease
from sluice.runtime.message import Message
from sluice.runtime.metrics import METRICS
from sluice.runtime.natsserver import NatsServer
from sluice.runtime.output import Output
from sluice.runtime.patience import patiently
from sluice.runtime.realising import realisations

LIMITS = Limits(max_bytes=64 << 20)
ONE, TWO = NodeName("node-1"), NodeName("node-2")
NOW = keyring.now()
LEFT = "Exception ignored in. <function (StreamWriter|_SelectorTransport).__del__"
pytestmark = pytest.mark.filterwarnings(f"ignore:{LEFT}:pytest.PytestUnraisableExceptionWarning")

PROMPTLY_S = 60.0


class World:
    """A server that knows identities, and connections to it."""

    def __init__(self, ring: Keyring, server: NatsServer, stack: AsyncExitStack) -> None:
        self.ring, self.server, self._stack = ring, server, stack

    async def bus(self, identity: Identity, keys: Identity | None = None) -> Bus:
        """A connection of this identity, with its own keys or with those of another."""
        credentials = self.ring.credentials(identity)
        if keys is not None:
            credentials = type(credentials)(identity=identity, folder=self.ring.credentials(keys).folder)
        return await self._stack.enter_async_context(
            await Bus.connect(self.server.url, name=identity.text, limits=LIMITS, credentials=credentials)
        )

    async def reconfigure(self, *buses: Bus) -> None:
        """The server goes by the ring as it is now, and these have come back to it."""
        for bus in buses:
            bus.connected.clear()
        await self.server.reconfigure()
        async with asyncio.timeout(PROMPTLY_S):
            for bus in buses:
                await bus.connected.wait()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    ring = Keyring.create(tmp_path / "keys", ["127.0.0.1"], NOW, client_certificates=True)
    ring.add(keyring.everybody([ONE, TWO]), NOW)
    server = await NatsServer.start(tmp_path / "nats", guarded=ring.server / keyring.CONFIGURATION)
    async with AsyncExitStack() as stack:
        made = World(ring, server, stack)
        await streams.ensure(await made.bus(OWNER))
        yield made
    await server.stop()
    gc.collect()  # of connections that were refused nats-py leaves writers behind: here, and in no later test


def service(name: str) -> Identity:
    return Identity("service", name)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(PROMPTLY_S):
        while not reached():  # noqa: ASYNC110  # a log and a counter have no event
            await asyncio.sleep(0.01)


async def answered(*buses: Bus) -> None:
    """JetStream answers each of them."""
    async with asyncio.timeout(PROMPTLY_S):
        for bus in buses:
            await patiently(bus, lambda bus=bus: bus.js.stream_info("GROUPS"))  # type: ignore[misc]  # bound now


async def outcome(asking: Awaitable[object]) -> str:
    """What becomes of it, within a time in which a denied one is silent."""
    try:
        async with asyncio.timeout(2):
            await asking
    except (TimeoutError, nats.errors.TimeoutError):
        return "silence"
    return "answer"


async def test_what_everybody_may_do_is_enough(world: World) -> None:
    """Each service's ways of reading and writing, under its identity; the lab's test runs the services themselves."""
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        ingest = await world.bus(OWNER)
        ledger = await stack.enter_async_context(await Output.open(ingest, "LEDGER", ["objects.>"]))
        source = await stack.enter_async_context(await Output.open(ingest, "STATUS", [subjects.source_status("x")]))
        for kind in Kind:
            ledger.mark(subjects.listed(kind), Listed(kind=kind, source="test"))
        source.put(subjects.source_status("x"), b"{}", Revision(1, 1))
        await ledger.settled()
        await source.settled()

        resolver = await world.bus(service("group-resolver"))
        lease = await Lease.claim(resolver, "group-resolver", 1, "me")
        groups = await stack.enter_async_context(await Output.open(resolver, "GROUPS", ["groups.>"]))
        groups.put(subjects.page("g", ONE), b"{}", Revision(1, 1))  # type: ignore[arg-type]
        groups.put(subjects.local(ONE), b"{}", Revision(1, 1))
        await groups.settled()
        await lease.release()

        compiler = await world.bus(service("rule-compiler"))
        programs = await stack.enter_async_context(await Output.open(compiler, "PROGRAMS", ["programs.>"]))
        shard = await stack.enter_async_context(await Output.open(compiler, "STATUS", [subjects.compiler_status(0)]))
        shard.put(subjects.compiler_status(0), b"{}", Revision(1, 1))
        programs.put("programs.tc.g.u", b"{}", Revision(1, 1))
        await programs.settled()
        await shard.settled()

        for reader in (await world.bus(service("admission")), resolver, compiler):
            async with aclosing(facts(reader, frozenset(Kind))) as told:
                async for batch in told:
                    if batch.in_sync:
                        break

        writer = await world.bus(service("status-writer"))
        await Lease.claim(writer, "status-writer", 1, "me")
        async with aclosing(realisations(writer)) as tellings:
            await anext(tellings)

        api = await world.bus(service("query-api"))
        async with await Output.open(api, "CHECKPOINTS", ["ledger.>"]) as checkpoints:
            checkpoints.put(subjects.checkpoint(1, 1), b"{}", Revision(1, 1))
            await checkpoints.settled()

        node = await world.bus(identities.node(ONE))
        interest = Interest(node, resync_s=60)
        interest.want([subjects.pages("g"), "programs.tc.g.*"])  # type: ignore[arg-type]
        found, missing = [], {subjects.pages("g"), "programs.tc.g.*"}  # type: ignore[arg-type]
        async for event in interest:
            match event:
                case Message():
                    found.append(event.subject)
                case Answered(patterns):
                    missing -= set(patterns)
            if not missing:
                break
        assert sorted(found) == ["groups.g.node-1", "programs.tc.g.u"]
        for backend in identities.BACKENDS:
            async with await Output.open(node, "STATUS", [subjects.status(ONE, backend)]) as status:
                status.put(subjects.status(ONE, backend), b"{}", Revision(1, 1))
                await status.settled()
            await node.js.publish(subjects.stats(ONE, backend), b"{}", stream="STATS")
        await node.js.publish(subjects.audit(ONE, "np"), b"{}", stream="AUDIT")
        assert (await node.js.get_last_msg("GROUPS", subjects.local(ONE), direct=True)).data == b"{}"

        other = await world.bus(identities.node(TWO))
        heard = await other.nc.subscribe(subjects.live(subjects.MULTICASTS))
        for _ in range(2):  # nats-py's first ping overtakes what waits to be sent
            await other.nc.flush()
        await node.nc.publish(subjects.multicast(ONE), b"joined")
        assert (await heard.next_msg(PROMPTLY_S)).data == b"joined"

    everybody = (ingest, resolver, compiler, writer, api, node, other)
    assert [(bus.name, bus.denied) for bus in everybody if bus.denied] == []


async def test_a_node_is_asked_by_the_operator_alone(world: World) -> None:
    node, operator = await world.bus(identities.node(ONE)), await world.bus(OPERATOR)

    async def find(_: bytes) -> Listed:
        return Listed(kind=Kind.POD, source="here")

    answering = asyncio.create_task(answer(node, subjects.trace(ONE), find))
    async with asyncio.timeout(PROMPTLY_S):
        told = None
        while told is None:
            try:
                told = await operator.nc.request(subjects.trace(ONE), b"{}", timeout=PROMPTLY_S)
            except nats.errors.NoRespondersError:  # it has not subscribed yet
                await asyncio.sleep(0.01)
    answering.cancel()

    assert b"here" in told.data


ROWS = [
    ("programmer", identities.node(ONE), "status.node-2.ovs"),
    ("programmer", identities.node(ONE), "objects.pods.x.y"),
    ("programmer", identities.node(ONE), "_sluice.api.STREAM.DELETE.GROUPS"),
    ("programmer", identities.node(ONE), "_sluice.api.DIRECT.GET.OBJECTS"),
    ("programmer", identities.node(ONE), "_sluice.api.STREAM.MSG.GET.AUDIT"),
    ("programmer", identities.node(ONE), "_sluice.api.DIRECT.GET.STATUS.status.node-2.ovs"),
    ("resolver", service("group-resolver"), "objects.pods.x.y"),
    ("compiler", service("rule-compiler"), "groups._mark.0"),
    ("admission", service("admission"), "_sluice.api.STREAM.CREATE.MINE"),
    ("api", service("query-api"), "$KV.sluice_leases.rule-compiler.0"),
]


async def test_what_nobody_granted_is_refused_said_and_counted(world: World) -> None:
    for who, identity, subject in ROWS:
        bus = await world.bus(identity)
        before = METRICS.counter("sluice_bus_permission_denied_total", "", "action").value("publish")
        with capture_logs() as logs:
            assert await outcome(bus.nc.request(subject, b"{}", timeout=0.2)) == "silence", (who, subject)
            await until(lambda bus=bus: bool(bus.denied))  # type: ignore[misc]

        said = [line for line in logs if line["event"] == "bus_permission_denied"]
        assert [(line["log_level"], line["identity"], line["subject"]) for line in said] == [
            ("error", identity.text, subject.lower())
        ]
        assert METRICS.counter("sluice_bus_permission_denied_total", "", "action").value("publish") == before + 1
        assert await Health(bus).lacking() == ["permitted"]
    operator = await world.bus(OPERATOR)
    assert [(await operator.js.stream_info(name)).state.messages for name in ("LEDGER", "STATUS", "GROUPS")] == [0] * 3


async def test_an_answer_of_jetstream_is_stored_nowhere(world: World) -> None:
    """JetStream answers wherever the question says, without asking what the one who asks may do."""
    operator = await world.bus(OPERATOR)
    for identity, question in (
        (identities.node(ONE), "_sluice.api.DIRECT.GET.STATUS.status.node-1.ovs"),
        (identities.node(ONE), "status.node-1.ovs"),
        (service("group-resolver"), "_sluice.api.STREAM.INFO.GROUPS"),
        (service("query-api"), "_sluice.api.STREAM.MSG.GET.CHECKPOINTS"),
    ):
        bus = await world.bus(identity)
        if identity.kind == "node":
            await bus.js.publish("status.node-1.ovs", b'{"forged":1}')
        for place in ("objects.pods.x.y", "status.node-2.ovs", "programs.ovs.g.u", "$JS.API.STREAM.DELETE.STATUS"):
            await bus.nc.publish(question, b"{}", place)
        await bus.nc.flush()
        assert not bus.denied
    await asyncio.sleep(0.2)  # nothing tells that nothing comes
    stored = [
        (await operator.js.stream_info(name, subjects_filter=">")).state.subjects for name in ("LEDGER", "PROGRAMS")
    ]
    status = (await operator.js.stream_info("STATUS", subjects_filter=">")).state.subjects

    assert stored == [None, None]
    assert list(status or ()) == ["status.node-1.ovs"]


async def test_a_consumer_delivers_into_no_stream(world: World) -> None:
    """Who may make consumers says where they deliver; what is delivered there is stored nowhere."""
    resolver, operator = await world.bus(service("group-resolver")), await world.bus(OPERATOR)
    await resolver.js.publish("groups.g.n", b"{}")
    request = b'{"stream_name":"GROUPS","config":{"name":"x","deliver_subject":"%s","ack_policy":"none"}}'
    for place in (b"objects.pods.x.y", b"programs.ovs.g.u"):
        await resolver.nc.request("_sluice.api.CONSUMER.CREATE.GROUPS.x", request % place, timeout=PROMPTLY_S)
        await resolver.nc.flush()
    await asyncio.sleep(0.2)  # nothing tells that nothing comes

    assert [(await operator.js.stream_info(name)).state.messages for name in ("LEDGER", "PROGRAMS")] == [0, 0]


async def test_a_write_that_is_not_permitted_is_refused_at_once(world: World) -> None:
    node = await world.bus(identities.node(ONE))
    output = Output(node, "STATUS", (subjects.status(TWO, "ovs"),))
    await output._sender.start(await streams.origin(node, "STATUS"))
    output.put(subjects.status(TWO, "ovs"), b"{}", Revision(1, 1))
    await until(lambda: bool(output.refused))
    refused = dict(output.refused)
    await output.close()

    assert refused == {"status.node-2.ovs": "the bus does not permit this identity to publish it"}


async def test_a_programmer_with_another_nodes_key(world: World) -> None:
    """It is the other node, to the server: it hears nothing that is meant for itself, and says nothing in its name."""
    with capture_logs() as logs:
        bus = await world.bus(identities.node(ONE), keys=identities.node(TWO))
        status = await outcome(bus.js.publish("status.node-1.ovs", b"{}", timeout=1))
        inbox = await outcome(bus.js.stream_info("GROUPS"))

    assert (status, inbox) == ("silence", "silence")
    denied = {
        (line["action"], line["subject"].split(".")[0]) for line in logs if line["event"] == "bus_permission_denied"
    }
    assert denied >= {("publish", "status"), ("subscription", "_inbox")}


async def never_connected(world: World, who: Identity | Credentials = OPERATOR) -> list[dict[str, object]]:
    """What is said while a connection is refused, twice."""
    credentials = who if isinstance(who, Credentials) else world.ring.credentials(who)
    counter = METRICS.counter("sluice_bus_refused_total", "", "reason")
    before = sum(counter._values.values())
    with capture_logs() as logs:
        connecting = asyncio.create_task(
            Bus.connect(world.server.url, name=credentials.identity.text, limits=LIMITS, credentials=credentials)
        )
        await until(lambda: sum(counter._values.values()) > before + 1)
        assert not connecting.done()
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
    return [dict(line) for line in logs if line["event"] == "bus_refused"]


async def test_an_unknown_key(world: World) -> None:
    world.ring.remove([identities.node(TWO)])
    await world.reconfigure()
    world.ring.add([identities.node(TWO)], NOW)  # of which the server is not told

    (said,) = await never_connected(world, identities.node(TWO))
    assert (said["log_level"], said["reason"], said["identity"]) == ("error", "authorization", "node.node-2")
    assert "authentication error" in (world.server.folder / "nats.log").read_text()


async def test_an_expired_certificate_of_a_client(world: World) -> None:
    place = world.ring.credentials(identities.node(ONE)).folder
    expired = world.ring._signer().client("node.node-1", NOW, days=-1)
    (place / "tls.key").write_bytes(expired.key)
    (place / "tls.crt").write_bytes(expired.certificate)

    (said,) = await never_connected(world, identities.node(ONE))
    assert said["reason"] == "certificate"
    assert "certificate has expired" in (world.server.folder / "nats.log").read_text()


async def test_a_client_without_a_certificate(world: World) -> None:
    (world.ring.credentials(OPERATOR).folder / "tls.crt").unlink()

    (said,) = await never_connected(world)
    assert said["reason"] == "certificate"


async def test_an_expired_certificate_of_the_server(world: World) -> None:
    expired = world.ring._signer().server(["127.0.0.1"], NOW, days=-1)
    (world.ring.server / "tls.key").write_bytes(expired.key)
    (world.ring.server / "tls.crt").write_bytes(expired.certificate)
    await world.server.restart()

    said = (await never_connected(world))[-1]
    assert said["reason"] == "server_certificate"
    assert "expired" in str(said["error"])


async def test_a_server_of_another_authority(world: World) -> None:
    other = Authority.make(NOW).server(["127.0.0.1"], NOW)
    (world.ring.server / "tls.key").write_bytes(other.key)
    (world.ring.server / "tls.crt").write_bytes(other.certificate)
    await world.server.restart()

    assert (await never_connected(world))[-1]["reason"] == "server_certificate"


async def test_a_server_without_encryption(world: World) -> None:
    keys = {identity: [world.ring.credentials(identity).public_key()] for identity in world.ring.identities}
    (world.ring.server / keyring.CONFIGURATION).write_text(accounts.configuration(keys))
    await world.server.restart()

    assert (await never_connected(world))[-1]["reason"] == "not_encrypted"


async def test_a_seed_that_is_none_is_waited_for(world: World) -> None:
    node = identities.node(ONE)
    bus = await world.bus(node)
    seed = world.ring.credentials(node).seed
    good = seed.read_bytes()
    seed.write_bytes(b"no seed")
    with capture_logs() as logs:
        await world.server.restart()
        await until(lambda: any(line.get("reason") == "credentials" for line in logs))
    seed.write_bytes(good)

    async with asyncio.timeout(PROMPTLY_S):
        await bus.connected.wait()


async def test_keys_and_certificates_are_rotated_under_connections(world: World, tmp_path: Path) -> None:
    node, resolver, operator = identities.node(ONE), service("group-resolver"), await world.bus(OPERATOR)
    held = [await world.bus(node), await world.bus(resolver)]
    old = {identity: world.ring.credentials(identity).public_key() for identity in (node, resolver)}
    later = NOW + timedelta(minutes=1)

    world.ring.renew(later, authority=True)
    before = Credentials(identity=node, folder=tmp_path / "before")
    shutil.copytree(world.ring.credentials(node).folder, before.folder)
    world.ring.rotate([node, resolver], later)
    await world.reconfigure(operator, *held)
    await answered(*held)
    async with await Bus.connect(world.server.url, name="before", limits=LIMITS, credentials=before) as late:
        await answered(late)
        assert late.nc._public_nkey == old[node], "the old key is still accepted"

    world.ring.retire(later)
    await world.reconfigure(operator, *held)
    await answered(operator, *held)
    assert [bus.nc._public_nkey in old.values() for bus in held] == [False, False]
    (said,) = await never_connected(world, before)
    assert said["reason"] == "authorization"


async def test_who_is_removed_is_out_at_once(world: World) -> None:
    node = await world.bus(identities.node(TWO))
    other = await world.bus(identities.node(ONE))
    world.ring.remove([identities.node(TWO)])
    await world.reconfigure(other)

    await until(lambda: not node.connected.is_set())
    await answered(other)
    await until(lambda: isinstance(node.nc.last_error, nats.errors.Error | ssl.SSLError | OSError))
    assert not node.connected.is_set()


async def test_a_server_that_is_found_by_an_address_which_no_certificate_has(world: World) -> None:
    named = world.ring._signer().server(["bus.example"], NOW)
    (world.ring.server / "tls.key").write_bytes(named.key)
    (world.ring.server / "tls.crt").write_bytes(named.certificate)
    await world.server.restart()
    mine = world.ring.credentials(OPERATOR)

    def told(name: str) -> Credentials:
        return Credentials(identity=OPERATOR, folder=mine.folder, server_name=name)

    bus = await Bus.connect(world.server.url, name="named", limits=LIMITS, credentials=told("bus.example"))
    await bus.close()
    for refused in (mine, told("other.example")):
        assert (await never_connected(world, refused))[-1]["reason"] == "server_certificate"
