"""The program in every Pod, on the loopback of this machine: it serves, and it tells answers apart."""

import asyncio
import os
import socket
import struct
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from sluice.contracts.ids import Address
from sluice.lab.checks import Question
from sluice.lab.prober.pinging import checksum
from sluice.lab.prober.sctp import crc32c
from sluice.lab.prober.sockets import FROM_ICMP, FROM_ICMP6, judge
from sluice.lab.probers import Prober, ProberGone, Probers
from sluice.lab.scenario import HttpRequest, IcmpMessage, TlsHello

HOME = Address("127.0.0.1")


def free_port() -> int:
    """A port that nobody has, for TCP and UDP."""
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        stream.bind(("", 0))
        port: int = stream.getsockname()[1]
        datagrams.bind(("", port))
        return port


def ask(protocol: Any, port: int = 0, address: str = HOME) -> Question:
    return Question(
        kind="probe",
        from_="x/a",
        to="y/b",
        what="",
        expect="Allowed",
        protocol=protocol,
        source=HOME,
        address=Address(address),
        port=port,
    )


@pytest.fixture
async def probers(tmp_path: Path) -> AsyncIterator[Probers]:
    probers = Probers(tmp_path, {})
    yield probers
    await probers.stop()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
async def prober(probers: Probers, port: int) -> AsyncIterator[Prober]:
    """One that serves `port`."""
    prober = await probers.start("x/a", None, [port])
    yield prober
    prober.kill()
    await prober.disconnect()


@pytest.fixture
def silent() -> Iterator[int]:
    """A UDP port that takes everything and answers nothing."""
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


async def test_what_is_served_is_allowed(prober: Prober, port: int) -> None:
    questions = [ask(protocol, port, address) for protocol in ("TCP", "UDP") for address in (HOME, "::1")] * 20

    results = await prober.ask(questions)

    assert {str(result) for result in results} == {"Allowed"}
    assert len(results) == len(questions)


@pytest.mark.datapath  # raw sockets need root
async def test_sctp_is_asked_and_answered(prober: Prober, port: int) -> None:
    questions = [ask("SCTP", number, address) for address in (HOME, "::1") for number in (port, free_port())] * 5

    results = await prober.ask(questions)

    assert {str(result) for result in results[::2]} == {"Allowed"}
    assert {(result.result, result.detail) for result in results[1::2]} == {("Rejected", "SCTP abort")}


@pytest.mark.datapath
async def test_whoever_serves_every_sctp_port(probers: Probers) -> None:
    prober = await probers.start("external:o", None, (), every_sctp_port=True)
    try:
        results = await prober.ask(
            [ask("SCTP", number, address) for number in (1, 65_535) for address in (HOME, "::1")]
        )
    finally:
        prober.kill()
        await prober.disconnect()

    assert {str(result) for result in results} == {"Allowed"}


@pytest.mark.datapath
async def test_a_timestamp_is_answered_as_an_echo_is(prober: Prober) -> None:
    stamp = msgspec.structs.replace(ask("ICMP"), icmp=IcmpMessage(type=13))

    assert [str(result) for result in await prober.ask([stamp, ask("ICMP"), ask("ICMP", 0, "::1")])] == ["Allowed"] * 3


def test_checksum_of_sctp() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of every catalogue of CRCs


async def test_a_reset_is_a_rejection(prober: Prober) -> None:
    (result,) = await prober.ask([ask("TCP", free_port())])

    assert (result.result, result.detail) == ("Rejected", "TCP reset")


async def test_a_port_without_listener_is_no_policy(prober: Prober) -> None:
    (result,) = await prober.ask([ask("UDP", free_port())])

    assert result.result == "Error"
    assert "port unreachable" in str(result)


async def test_no_answer_is_a_drop_after_all_tries(prober: Prober, silent: int, port: int) -> None:
    results = await prober.ask([ask("UDP", silent), ask("UDP", port)], tries=2, try_s=0.05)

    assert [result.result for result in results] == ["Dropped", "Allowed"]


async def test_nothing_to_ask_is_answered(prober: Prober) -> None:
    assert await prober.ask([]) == ()


async def test_requests_do_not_wait_for_each_other(prober: Prober, silent: int, port: int) -> None:
    slow = asyncio.create_task(prober.ask([ask("UDP", silent)], tries=1, try_s=30))
    (result,) = await prober.ask([ask("TCP", port)])

    assert result.result == "Allowed"
    assert not slow.done()
    slow.cancel()
    await asyncio.wait([slow])


async def test_two_may_ask_one_prober(prober: Prober, port: int, tmp_path: Path) -> None:
    (path,) = tmp_path.glob("*.sock")
    other = await Prober.connect("x/a", prober.pid, path)
    results = await asyncio.gather(prober.ask([ask("TCP", port)]), other.ask([ask("UDP", port)]))
    await other.disconnect()

    assert [str(result) for (result,) in results] == ["Allowed", "Allowed"]


async def test_a_source_port_is_used_when_it_is_given(prober: Prober, silent: int) -> None:
    wanted = free_port()
    with socket.socket(type=socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        question = msgspec.structs.replace(ask("UDP", listener.getsockname()[1]), source_port=wanted)
        await prober.ask([question], tries=1, try_s=0.01)

        assert listener.recvfrom(64)[1][1] == wanted


async def test_every_probe_has_a_source_port_of_its_own(prober: Prober) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        await prober.ask([ask("UDP", listener.getsockname()[1])] * 10, tries=2, try_s=0.01)

        assert len({listener.recvfrom(64)[1][1] for _ in range(20)}) == 20


@pytest.mark.parametrize("protocol", ["TCP", "UDP"])
async def test_a_connection_stays(prober: Prober, port: int, protocol: Any) -> None:
    assert (await prober.open("c", ask(protocol, port))).result == "Allowed"
    assert (await prober.check("c")).result == "Allowed"

    await prober.close_connection("c")
    assert str(await prober.check("c")) == "Error: no connection c is open"


async def test_a_connection_of_which_the_other_end_dies(prober: Prober, probers: Probers) -> None:
    port = free_port()
    other = await probers.start("y/b", None, [port])
    assert (await prober.open("c", ask("TCP", port))).result == "Allowed"
    other.kill()
    await other.disconnect()

    assert (await prober.check("c")).result in ("Rejected", "Error")


async def test_http_is_answered(prober: Prober, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for path in ("/public", "/x?y=z"):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: foo.bar.com\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            await reader.readline()
        writer.write(b"HEAD / HTTP/1.1\r\n")
        writer.write(b"\r\n")
        assert b"Content-Length: 0\r\n" in await reader.readuntil(b"\r\n\r\n")
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_port_that_is_taken(probers: Probers) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ProberGone, match=f"y/b: it cannot serve: port {port}: Address already in use"):
            await probers.start("y/b", None, [port])


async def test_a_prober_that_is_killed_is_said_to_be(prober: Prober, silent: int) -> None:
    asking = asyncio.create_task(prober.ask([ask("UDP", silent)], tries=1, try_s=30))
    await prober.ask([])  # the request before has arrived
    prober.kill()

    with pytest.raises(ProberGone, match="x/a: its prober has ended"):
        await asking
    with pytest.raises(ProberGone):
        await prober.ask([])


async def test_the_parent_is_made_anew(probers: Probers, prober: Prober, port: int) -> None:
    await probers.stop()

    assert [str(result) for result in await prober.ask([ask("TCP", port)])] == ["Allowed"]
    other = await probers.start("y/b", None, [])
    other.kill()
    await other.disconnect()


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="raw sockets need Linux and root")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_echo_requests(prober: Prober, address: str) -> None:
    results = await prober.ask([ask("ICMP", address=address)] * 20)

    assert {str(result) for result in results} == {"Allowed"}


ERRORS = [
    ("host prohibited", (FROM_ICMP, (3, 10)), "Rejected"),
    ("network prohibited", (FROM_ICMP, (3, 9)), "Rejected"),
    ("communication prohibited", (FROM_ICMP, (3, 13)), "Rejected"),
    ("IPv6 prohibited", (FROM_ICMP6, (1, 1)), "Rejected"),
    ("port unreachable", (FROM_ICMP, (3, 3)), "Error"),
    ("IPv6 port unreachable", (FROM_ICMP6, (1, 4)), "Error"),
]


@pytest.mark.parametrize(("name", "icmp", "result"), ERRORS, ids=[name for name, _, _ in ERRORS])
def test_icmp_errors_are_told_apart(name: str, icmp: tuple[int, tuple[int, int]], result: str) -> None:
    verdict = judge(113, icmp)

    assert verdict is not None
    assert verdict[0] == result


def test_a_router_that_cannot_reach_a_host_settles_nothing() -> None:
    assert judge(113, (FROM_ICMP, (3, 1))) is None
    assert judge(113, None) is None


def test_the_checksum_of_a_packet_with_its_checksum_is_zero() -> None:
    packet = bytes.fromhex("08000000123400017369")
    whole = packet[:2] + checksum(packet).to_bytes(2, "big") + packet[4:]

    assert checksum(packet) != 0
    assert checksum(whole) == 0


def asking(port: int, what: HttpRequest | TlsHello, *pipelined: HttpRequest, address: str = HOME) -> Question:
    return msgspec.structs.replace(ask("TCP", port, address), asks=what, pipelined=pipelined)


@pytest.mark.parametrize("address", [HOME, "::1"])
async def test_requests_and_handshakes_are_answered(prober: Prober, port: int, address: str) -> None:
    odd = HttpRequest(method="POST", path="/a b/%2e?x=\N{LATIN SMALL LETTER E WITH ACUTE}#y", host="foo.bar.com")
    several = (HttpRequest(path="/1"), HttpRequest(method="HEAD", path="/2"), HttpRequest(path="/3"))
    questions = [
        asking(port, HttpRequest(), address=address),
        asking(port, odd, address=address),
        asking(port, several[0], *several[1:], address=address),
        *(asking(port, TlsHello(sni=name), address=address) for name in ("foo.bar.com", "FOO", "")),
    ]

    results = await prober.ask(questions * 3, try_s=5)

    assert {str(result) for result in results} == {"Allowed"}


class Answering(NamedTuple):
    """A server that does one thing with what comes."""

    does: str
    what: HttpRequest | TlsHello
    result: str


ODD = [
    Answering("reset", HttpRequest(), "Rejected: TCP reset"),
    Answering("reset", TlsHello(sni="a"), "Rejected: TCP reset"),
    Answering("close", HttpRequest(), "Error: the other end closed the connection"),
    Answering("nothing", HttpRequest(), "Dropped: no answer"),
    Answering("nothing", TlsHello(sni="a"), "Dropped: no answer"),
    Answering("text", HttpRequest(), "Error: the other end closed the connection"),
    Answering("text", TlsHello(sni="a"), "Error: no TLS comes back: WRONG_VERSION_NUMBER"),
]


@pytest.mark.parametrize("case", ODD, ids=lambda case: f"{case.does}-{type(case.what).__name__}")
async def test_what_a_network_does_to_a_question(prober: Prober, monkeypatch: pytest.MonkeyPatch, case: Answering):
    monkeypatch.setattr("sluice.lab.probers.ASKING_TRY_S", 0.2)

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        match case.does:
            case "reset":
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case "text":
                writer.write(b"220 hello, who are you?\r\n")
            case "nothing":
                await asyncio.sleep(5)
        writer.close()

    listener = await asyncio.start_server(served, "127.0.0.1", 0)
    (result,) = await prober.ask([asking(listener.sockets[0].getsockname()[1], case.what)], tries=1, try_s=0.2)
    listener.close()

    assert f"{result.result}: {result.detail}" == case.result


async def test_a_connection_is_asked_by_requests(prober: Prober, port: int) -> None:
    one = asking(port, HttpRequest(path="/1"))

    assert (await prober.open("c", one)).result == "Allowed"
    assert (await prober.check("c", one)).result == "Allowed"
    assert (await prober.check("c", asking(port, HttpRequest(path="/2"), *[HttpRequest()] * 9))).result == "Allowed"


async def test_requests_of_a_connection_wait_for_each_other(prober: Prober, port: int) -> None:
    await prober.open("c", asking(port, HttpRequest()))
    questions = [asking(port, HttpRequest(path=f"/{number}")) for number in range(20)]
    results = await asyncio.gather(*(prober.check("c", question) for question in questions))

    assert {result.result for result in results} == {"Allowed"}


async def test_a_connection_inside_of_tls(prober: Prober, port: int) -> None:
    secured = asking(port, TlsHello(sni="a"))

    assert (await prober.open("c", secured)).result == "Allowed"
    assert [(await prober.check("c", secured)).result for _ in range(3)] == ["Allowed"] * 3


async def test_an_asking_connection_of_which_the_other_end_dies(prober: Prober, probers: Probers) -> None:
    port = free_port()
    other = await probers.start("y/b", None, [port])
    asked = asking(port, HttpRequest())
    assert (await prober.open("c", asked)).result == "Allowed"
    other.kill()
    await other.disconnect()

    assert (await prober.check("c", asked)).result in ("Rejected", "Error")
