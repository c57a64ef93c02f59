"""Our client speaks as nats-py does: what either sends the other reads, and nothing can end its line."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client as Theirs
from nats.aio.msg import Msg
from nats.errors import BadHeaderError, BadSubjectError

from sluice.runtime.bus import Bus
from sluice.runtime.client import Client, subscribe

HEADERS = {"Sluice-Cause": "12.34", "Nats-Msg-Id": "groups.g.n:3:1.2:0f", "Umlaut": "grün: ja", "Empty": ""}
NAMES = st.text("abcXYZ-09", min_size=1)
VALUES = st.text(st.characters(exclude_categories=["C", "Z"])).map(lambda text: f"x{text}: {text}y")


@given(st.dictionaries(NAMES, VALUES))
def test_headers_are_read_as_theirs(headers):
    block = "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode() + b"\r\n"

    assert Client._parse_header_lines(block) == Theirs._parse_header_lines(block) == headers


@pytest.fixture
async def theirs(server):
    client = Theirs()
    await client.connect(server.url)
    yield client
    await client.close()


async def test_what_we_send_they_read_and_the_other_way(bus, theirs):
    for sender, reader in ((bus.nc, theirs), (theirs, bus.nc)):
        subscription = await reader.subscribe("a.b")
        for _ in range(2):  # nats-py's first ping overtakes what waits to be sent
            await reader.flush()
        await sender.publish("a.b", b"body", "reply.to", HEADERS)
        await sender.publish("a.b", b"bare")
        first, second = [await subscription.next_msg(5) for _ in range(2)]
        await subscription.unsubscribe()

        assert (first.subject, first.reply, first.data, first.headers) == ("a.b", "reply.to", b"body", HEADERS)
        assert (second.data, second.headers) == (b"bare", None)


async def test_what_was_sent_before_a_flush_is_there_when_it_is_answered(bus: Bus, monkeypatch: pytest.MonkeyPatch):
    transport: Any = bus.nc._transport
    sent, write = bytearray(), transport.write

    def watched(data: bytes) -> None:
        sent.extend(data)
        write(data)

    monkeypatch.setattr(transport, "write", watched)
    monkeypatch.setattr(transport, "writelines", lambda lines: watched(b"".join(lines)))
    await bus.nc.subscribe("a.b")
    await bus.nc.publish("a.c", b"")
    await bus.nc.flush()

    assert 0 <= sent.find(b"SUB a.b") < sent.find(b"PUB a.c") < sent.find(b"PING")


@pytest.mark.parametrize("subject", ["a b", "a\r\nPUB x 0", "a\tb", "a\n"])
async def test_a_subject_cannot_end_its_line(bus: Bus, subject):
    with pytest.raises(BadSubjectError):
        await bus.nc.publish(subject, b"")


@pytest.mark.parametrize("headers", [{"a": "b\r\nc: d"}, {"a": "b\n"}, {"a\r\nb": "c"}, {"a": "\r"}])
async def test_a_header_cannot_end_its_line(bus: Bus, headers):
    with pytest.raises(BadHeaderError):
        await bus.nc.publish("a", b"", headers=headers)


async def test_a_taker_gets_messages_in_order_without_a_task(bus: Bus):
    class Taken(list[Msg]):
        def put_nowait(self, message: Msg) -> None:
            self.append(message)

    taken = Taken()
    tasks = len(asyncio.all_tasks())
    await subscribe(bus.nc, "a.*", taken)
    for number in range(100):
        await bus.nc.publish(f"a.{number}", b"")
    async with asyncio.timeout(60):
        while len(taken) < 100:  # noqa: ASYNC110  # the taker tells nobody
            await asyncio.sleep(0.01)

    assert [message.subject for message in taken] == [f"a.{number}" for number in range(100)]
    assert len(asyncio.all_tasks()) == tasks
