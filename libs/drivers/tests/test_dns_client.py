"""Questions to servers of DNS that answer as they should, late, wrongly or not at all."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sluice.contracts.ids import Address
from sluice.dataplane.dns.message import NO_SUCH_NAME, Kind
from sluice.dataplane.dns.writing import Record, answer
from sluice.drivers.dns import NoAnswer, ask, nameservers

HERE, NOWHERE = "127.0.0.1", "127.0.0.2"
ADDRESS = Address("192.0.2.1")
RECORDS = [Record("www.a.com", ADDRESS, 60)]
SERVFAIL = 2

Answering = Callable[[bytes], list[bytes]]


class Server(asyncio.DatagramProtocol):
    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:  # Any: it is one of datagrams, and asyncio does not say so
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        for octets in self._answering(data):
            self._transport.sendto(octets, addr)


@asynccontextmanager
async def serving(by_udp: Answering, by_tcp: bytes | None = None) -> AsyncIterator[int]:
    """A server on a port of its own; what it says by TCP follows the id of the question."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = int.from_bytes(await reader.readexactly(2), "big")
        asked = await reader.readexactly(size)
        said = answer(asked, RECORDS) if by_tcp is None else by_tcp
        writer.write(len(said).to_bytes(2, "big") + said)
        await writer.drain()
        writer.close()

    stream = await asyncio.start_server(converse, HERE, 0)
    port = stream.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Server(by_udp), (HERE, port))
    try:
        yield port
    finally:
        transport.close()
        stream.close()
        await stream.wait_closed()


def good(asked: bytes) -> list[bytes]:
    return [answer(asked, RECORDS)]


async def test_an_answer():
    async with serving(good) as port:
        found = await ask((HERE,), "www.a.com", Kind.A, port=port)

    assert [(one.address, one.ttl_s) for one in found.told] == [(ADDRESS, 60)]


async def test_what_is_no_answer_to_the_question_is_ignored():
    def answering(asked: bytes) -> list[bytes]:
        other_id = bytes((asked[0] ^ 1,)) + asked[1:]
        other_name = asked.replace(b"www", b"xxx")
        return [b"?", answer(other_id, []), answer(other_name, []), *good(asked)]

    async with serving(answering) as port:
        found = await ask((HERE,), "www.a.com", Kind.A, port=port)

    assert [one.address for one in found.told] == [ADDRESS]


async def test_what_does_not_fit_is_asked_for_over_tcp():
    async with serving(lambda asked: [answer(asked, RECORDS * 50, limit=200)]) as port:
        found = await ask((HERE,), "www.a.com", Kind.A, port=port)

    assert [one.address for one in found.told] == [ADDRESS]


async def test_a_name_that_does_not_exist_is_an_answer():
    async with serving(lambda asked: [answer(asked, [], rcode=NO_SUCH_NAME)]) as port:
        found = await ask((HERE,), "www.a.com", Kind.A, port=port)

    assert (found.code, found.told) == (NO_SUCH_NAME, ())


async def test_the_next_server_is_asked_when_one_does_not_know():
    async with serving(good) as port:
        found = await ask((NOWHERE, HERE), "www.a.com", Kind.A, port=port, timeout_s=5)

    assert [one.address for one in found.told] == [ADDRESS]


@pytest.mark.parametrize(
    ("answering", "by_tcp", "why"),
    [
        (lambda _: [], None, "did not answer in 0.2 s"),
        (lambda asked: [answer(asked, [], rcode=SERVFAIL)], None, "failed to answer"),
        (lambda asked: [answer(asked, RECORDS * 50, limit=200)], b"?", "shorter than a header"),
    ],
    ids=["silence", "failure", "nonsense over TCP"],
)
async def test_no_answer(answering: Answering, by_tcp: bytes | None, why: str):
    async with serving(answering, by_tcp) as port:
        with pytest.raises(NoAnswer, match=why):
            await ask((HERE,), "www.a.com", Kind.A, port=port, timeout_s=0.2 if why.startswith("did") else 5)


async def test_without_servers_there_is_no_answer():
    with pytest.raises(NoAnswer, match="no server is known"):
        await ask((), "www.a.com", Kind.A)


def test_servers_of_the_machine(tmp_path: Path):
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# nameserver 192.0.2.9\nsearch a.com\nnameserver 192.0.2.1\nnameserver\t2001:db8::1 \nnameserver\n"
    )

    assert nameservers(file) == ("192.0.2.1", "2001:db8::1")
