"""The service as a process: settings, signals, and kill -9 at any time."""

import asyncio
import os
import signal
import sys
from random import Random

import pytest

from sluice.contracts import codec, subjects
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import TYPES
from sluice.contracts.status import SourceStatus
from sluice.kube.digest import folder_digest
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, follow
from sluice.runtime.message import Message
from sluice.runtime.natsserver import NatsServer

PATIENCE_S = 60


async def started(server, folder, **variables):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sluice.services.ingest",
        stderr=asyncio.subprocess.PIPE,
        env={
            **{name: text for name, text in os.environ.items() if not name.startswith("SLUICE_INGEST_")},
            "SLUICE_INGEST_NATS_URL": server.url,
            "SLUICE_INGEST_FOLDER": str(folder),
            "SLUICE_INGEST_HEALTH_PORT": "-1",
            "SLUICE_INGEST_POLL_INTERVAL_MS": "10",
            "SLUICE_INGEST_GRACE_MS": "20",
            **variables,
        },
    )


async def ended(process, send=None):
    if send is not None:
        process.send_signal(send)
    async with asyncio.timeout(PATIENCE_S):
        _, said = await process.communicate()
    return process.returncode, said.decode()


@pytest.fixture
async def server(tmp_path):
    server = await NatsServer.start(tmp_path / "nats")
    yield server
    await server.stop()


@pytest.fixture
def manifests(tmp_path):
    folder = tmp_path / "manifests"
    folder.mkdir()
    return folder


def digest(folder):
    return folder_digest((path.name, path.read_bytes()) for path in folder.iterdir())


async def in_force(bus, folder):
    """All that the folder says is stored: namespaces with their notes, and their uids."""
    held = {}
    async with asyncio.timeout(PATIENCE_S):
        async with follow(bus, "STATUS", (subjects.source_status("folder"),)) as events:
            async for event in events:
                if isinstance(event, Message) and codec.decode(event.body, SourceStatus).digest == digest(folder):
                    break
        async with follow(bus, "LEDGER", (f"objects.{Kind.NAMESPACE}.>",)) as events:
            async for event in events:
                match event:
                    case Message(subject=subject, body=body):
                        held[subject] = body
                    case CaughtUp():
                        break
    found = [codec.decode(body, TYPES[Kind.NAMESPACE]).metadata for body in held.values() if body]
    return {one.name: (one.labels["note"], one.uid) for one in found}


async def test_it_ends_when_it_is_told_to(server, manifests):
    process = await started(server, manifests)
    async with await Bus.connect(server.url, name="test") as bus:
        assert await in_force(bus, manifests) == {}

    code, said = await ended(process, signal.SIGTERM)

    assert code == 0, said
    assert '"event": "first_listing_stored"' in said


async def test_it_needs_a_folder(server, manifests):
    process = await started(server, manifests, SLUICE_INGEST_FOLDERS="x")

    code, said = await ended(process)

    assert code == 2
    assert "folders" in said
    assert "SLUICE_INGEST_FOLDER" in said


async def test_another_source_is_a_clear_error(server, manifests, tmp_path):
    process = await started(server, manifests)
    async with await Bus.connect(server.url, name="test") as bus:
        await in_force(bus, manifests)
    await ended(process, signal.SIGTERM)

    code, said = await ended(await started(server, tmp_path))

    assert code == 1
    assert "a deployment has only one source" in said


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_kill_9_at_any_time_is_harmless(server, manifests):
    """After twenty kills in the middle of changes the stream holds what the folder says, with the uids of before."""
    random = Random(7)
    names = [f"n{number}" for number in range(30)]

    def write(note):
        for file in range(3):
            text = "".join(
                f"---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{note: '{note}'}}}}}}\n"
                for name in names[file * 10 : file * 10 + random.randint(5, 10)]
            )
            (manifests / f"{file}.yaml").write_text(text)

    def said():
        lines = "".join(path.read_text() for path in manifests.iterdir()).splitlines()
        return {line.split("name: ")[1].split(",")[0] for line in lines if "name" in line}

    write(0)
    async with await Bus.connect(server.url, name="test") as bus:
        process = await started(server, manifests)
        before = await in_force(bus, manifests)
        assert before.keys() == said()
        for round_number in range(1, 21):
            write(round_number)
            await asyncio.sleep(random.uniform(0, 0.4))  # not to wait for anything: to be killed anywhere
            await ended(process, signal.SIGKILL)
            process = await started(server, manifests)
            if round_number % 5 == 0:
                after = await in_force(bus, manifests)
                assert {name: note for name, (note, _) in after.items()} == dict.fromkeys(said(), str(round_number))
                always = before.keys() & after.keys() & {name for name in names if int(name[1:]) % 10 < 5}
                assert {name: after[name][1] for name in always} == {name: before[name][1] for name in always}
        code, output = await ended(process, signal.SIGTERM)
        assert code == 0, output
