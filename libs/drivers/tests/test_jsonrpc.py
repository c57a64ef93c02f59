"""The connection under OVSDB and the control sockets, against a peer that cuts, hangs and lies."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest

from sluice.drivers.jsonrpc import JsonRpc, RpcGone, RpcRefused


@asynccontextmanager
async def peer(path, serve):
    """A server whose connections are served by `serve`, and closed afterwards."""
    served: set[asyncio.Task[None] | None] = set()

    async def accept(reader, writer):
        served.add(asyncio.current_task())
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_unix_server(accept, path)
    try:
        yield
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*filter(None, served)), 60)


async def next_call(reader):
    """One request: JSON texts have no separator, but each of ours ends with the only brace at its level."""
    text = b""
    while True:
        text += await reader.readexactly(1)
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            continue


@pytest.fixture
def path(tmp_path):
    return tmp_path / "socket"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000], ids=lambda size: f"{size}-octets")
async def test_texts_are_found_however_they_are_cut(path, size):
    notices = []
    texts = [
        {"method": "update", "params": ["m", {"a": "}{"}], "id": None},
        {"method": "update", "params": ["ü€", 2], "id": None},
        {"id": 1, "result": {"x": [1, "}"]}, "error": None},
    ]

    async def serve(reader, writer):
        await next_call(reader)
        octets = " \n".join(json.dumps(text, ensure_ascii=False) for text in texts).replace(" \n", "").encode()
        for at in range(0, len(octets), size):
            writer.write(octets[at : at + size])
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    async with peer(path, serve):
        rpc = await JsonRpc.connect(path, lambda method, params: notices.append((method, params)))
        assert await rpc.call("get", []) == {"x": [1, "}"]}
        assert notices == [("update", ["m", {"a": "}{"}]), ("update", ["ü€", 2])]
        rpc.close()


async def test_the_peers_echo_is_answered_and_its_strange_calls_are_refused(path):
    answers: asyncio.Queue[object] = asyncio.Queue()

    async def serve(reader, writer):
        writer.write(b'{"method":"echo","params":["x"],"id":"e"}{"method":"steal","params":[],"id":7}')
        for _ in range(2):
            answers.put_nowait(await next_call(reader))

    async with peer(path, serve), asyncio.timeout(60):
        rpc = await JsonRpc.connect(path)
        assert await answers.get() == {"id": "e", "result": ["x"], "error": None}
        assert await answers.get() == {"id": 7, "result": None, "error": "unknown method"}
        rpc.close()


async def test_an_error_is_an_exception(path):
    async def serve(reader, writer):
        await next_call(reader)
        writer.write(b'{"id":1,"result":null,"error":"no such thing"}')
        await reader.read()

    async with peer(path, serve):
        rpc = await JsonRpc.connect(path)
        with pytest.raises(RpcRefused, match="socket: take: no such thing"):
            await rpc.call("take", [])
        rpc.close()


ENDS = [
    ("it closes", b"", "the daemon closed the connection"),
    ("it lies", b"<html>}", "not JSON-RPC"),
    ("it is no text", b"\xff\xff}", "not JSON-RPC"),
]


@pytest.mark.parametrize(("octets", "reason"), [row[1:] for row in ENDS], ids=[row[0] for row in ENDS])
async def test_who_waits_is_told_why_the_connection_ended(path, octets, reason):
    async def serve(reader, writer):
        await next_call(reader)
        writer.write(octets)

    async with peer(path, serve), asyncio.timeout(60):
        rpc = await JsonRpc.connect(path)
        with pytest.raises(RpcGone, match=reason):
            await rpc.call("get", [])
        assert reason in await rpc.closed
        with pytest.raises(RpcGone, match=reason):
            await rpc.call("get", [])


async def silence(reader, writer):
    await reader.read()


async def test_no_answer_in_time_ends_the_connection(path):
    async with peer(path, silence), asyncio.timeout(60):
        rpc = await JsonRpc.connect(path)
        with pytest.raises(RpcGone, match=r"no answer to get in 0\.05 s"):
            await rpc.call("get", [], timeout_s=0.05)
        assert rpc.closed.done()


async def test_a_peer_that_answers_no_echo_is_taken_for_dead(path):
    async with peer(path, silence), asyncio.timeout(60):
        rpc = await JsonRpc.connect(path, keepalive_s=0.05)
        assert "no answer to an echo" in await rpc.closed


async def test_nobody_there(path):
    with pytest.raises(FileNotFoundError):
        await JsonRpc.connect(path)
