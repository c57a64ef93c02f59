"""Queries DNS servers for the addresses of a name: over UDP, and over TCP if the answer is truncated.

Each query has a random port and id, and its socket is connected to the server, so that an attacker who does not see the
query cannot answer it. Source: RFC 5452 section 9, RFC 7766 section 5, resolv.conf(5).
"""

import asyncio
import secrets
import socket
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path

from sluice.dataplane.dns.message import NO_SUCH_NAME, PORT, Answer, Kind, Unreadable, read
from sluice.dataplane.dns.writing import question

TIMEOUT_S = 5.0
"""Per server; the default of resolvers."""


_Question = tuple[int, str, int]
"""Id, name and type."""


class NoAnswer(Exception):
    """No server gave an answer about the name."""


def nameservers(file: Path = Path("/etc/resolv.conf")) -> tuple[str, ...]:
    """The name servers configured on this machine.

    Raises:
        OSError: the file cannot be read.
    """
    lines = (line.split() for line in file.read_text(encoding="utf-8", errors="replace").splitlines())
    return tuple(words[1] for words in lines if len(words) > 1 and words[0] == "nameserver")


async def ask(
    servers: Sequence[str], name: str, kind: Kind, *, port: int = PORT, timeout_s: float = TIMEOUT_S
) -> Answer:
    """The answer of the first server that gives one. That a name does not exist is an answer, too.

    Raises:
        NoAnswer: no server answered; says why the last one did not.
    """
    why = "no server is known; name one in /etc/resolv.conf, or in the settings"
    for server in servers:
        try:
            async with asyncio.timeout(timeout_s):
                return await _ask(server, port, name, kind)
        except TimeoutError:
            why = f"{server} did not answer in {timeout_s:g} s"
        except (OSError, Unreadable, ValueError, asyncio.IncompleteReadError) as error:
            why = f"{server}: {error}"
    raise NoAnswer(f"{name} {kind.name}: {why}")


async def _ask(server: str, port: int, name: str, kind: Kind) -> Answer:
    id_ = secrets.randbelow(1 << 16)
    asked, wanted = question(id_, name, kind), (id_, name, kind)
    answer = await _by_udp(server, port, asked, wanted)
    if answer.truncated:
        answer = await _by_tcp(server, port, asked)
        if _question(answer) != wanted:
            raise Unreadable("an answer to another question")
    if answer.code not in (0, NO_SUCH_NAME):
        raise Unreadable("the server failed to answer")
    return answer


async def _by_udp(server: str, port: int, asked: bytes, wanted: _Question) -> Answer:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ip_address(server).version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        await loop.sock_connect(sock, (server, port))
        await loop.sock_sendall(sock, asked)
        while True:  # datagrams that do not answer this query are ignored
            octets = await loop.sock_recv(sock, 0xFFFF)
            try:
                answer = read(octets)
            except Unreadable:
                continue
            if _question(answer) == wanted:
                return answer


async def _by_tcp(server: str, port: int, asked: bytes) -> Answer:
    reader, writer = await asyncio.open_connection(server, port)
    try:
        writer.write(len(asked).to_bytes(2, "big") + asked)
        size = int.from_bytes(await reader.readexactly(2), "big")
        return read(await reader.readexactly(size))
    finally:
        writer.close()


def _question(answer: Answer) -> _Question:
    return answer.id, answer.name, answer.kind
