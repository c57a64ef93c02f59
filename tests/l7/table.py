"""What clients may send, well or badly, and what becomes of it.

`served` is how many requests reached the server whole; a connection ends in a reset or stays open.
"""

import socket
import time
from typing import NamedTuple, Protocol

from tests.l7.rig import received, send_in
from tests.l7.server import BANNER_PORT, ECHO_PORT, HTTP_PORT, TLS_PORT

from sluice.contracts.l7 import HttpMatch, TlsMatch

HTTP = (
    HttpMatch(path="/public/*", method="GET"),
    HttpMatch(host="*.foo.com"),
    HttpMatch(path="*/v9/*"),
    HttpMatch(path="/exact"),
    HttpMatch(path="/both/*", host="exact.bar.com", method="POST"),
)
TLS = (TlsMatch(sni="foo.bar.com"), TlsMatch(sni="*.wild.com"))

WHOLE = 1 << 16
SILENT_S = 3.0
"""Where nothing may come at all, nothing comes after that."""


class Part(NamedTuple):
    data: bytes
    step: int
    """Bytes a segment."""

    waits: bool
    """For an answer, before the next part."""


def ask(data: bytes, step: int = WHOLE) -> Part:
    return Part(data, step, waits=True)


def send(data: bytes, step: int = WHOLE) -> Part:
    return Part(data, step, waits=False)


def request(
    path: str = "/public/x",
    host: str | None = "h",
    method: str = "GET",
    *,
    version: str = "HTTP/1.1",
    headers: str = "",
    body: bytes = b"",
) -> bytes:
    host_line = "" if host is None else f"Host: {host}\r\n"
    return f"{method} {path} {version}\r\n{host_line}{headers}\r\n".encode() + body


OK, BAD = request(), request("/admin")
CHUNKED = "Transfer-Encoding: chunked\r\n"


class Case(NamedTuple):
    name: str
    parts: tuple[Part, ...]
    served: int
    reset: bool
    pipelined: bool = False
    """What shares a segment with a denied request goes with it, and a reset that an answer overtakes is not heeded:
    there the switch has to help."""

    port: int = HTTP_PORT


def allowed(name: str, *parts: Part, served: int = 1, port: int = HTTP_PORT) -> Case:
    return Case(name, parts, served, reset=False, port=port)


def denied(name: str, *parts: Part, served: int = 0, port: int = HTTP_PORT) -> Case:
    """The last request is; those before it were served."""
    return Case(name, parts, served, reset=True, port=port)


def cut(name: str, *parts: Part, served: int) -> Case:
    """As denied, by a client that does not wait; some of the allowed ones may go with it."""
    return Case(name, parts, served, reset=True, pipelined=True)


def post(path: str = "/z", host: str = "a.foo.com", body: bytes = b"", headers: str = "") -> bytes:
    return request(path, host, "POST", headers=f"{headers}Content-Length: {len(body)}\r\n", body=body)


CASES = [
    # ------------------------------------------------------------------------------------------ entries
    allowed("path and method", ask(OK)),
    denied("another path", ask(BAD)),
    denied("another method", ask(request(method="POST"))),
    denied("a method that begins as the allowed one", ask(request(method="GETX"))),
    allowed("exact path", ask(request("/exact"))),
    denied("exact path and more", ask(request("/exactly"))),
    allowed("text within the path", ask(request("/x/v9/y"))),
    allowed("host", ask(request("/z", "a.foo.com"))),
    allowed("host in upper case with a port", ask(request("/z", "WWW.FOO.COM:80"))),
    denied("host without the dot", ask(request("/z", "foo.com"))),
    denied("host as the beginning of another", ask(request("/z", "a.foo.com.evil.org"))),
    allowed("all three fields", ask(request("/both/x", "exact.bar.com", "POST", headers="Content-Length: 0\r\n"))),
    denied("two of three fields", ask(request("/both/x", "other.bar.com", "POST", headers="Content-Length: 0\r\n"))),
    # ------------------------------------------------------------------------------------------ what is the path
    allowed("a query after an exact path", ask(request("/exact?q=1"))),
    denied("an allowed path in the query", ask(request("/admin?x=/v9/"))),
    denied("an allowed path in the fragment", ask(request("/admin#/v9/"))),
    denied("an encoded question mark is of the path", ask(request("/exact%3fz"))),
    denied("an encoded line end is of the path", ask(request("/exact%0a"))),
    denied("an encoded NUL is of the path", ask(request("/exact%00"))),
    allowed("percent-encoded letters", ask(request("/%70ublic/x"))),
    denied("percent-encoded letters of another path", ask(request("/%61dmin"))),
    denied("another case of an exact path", ask(request("/EXACT"))),
    denied("UTF-8 that looks like ASCII", ask(request("/%ef%bd%85xact"))),
    denied("the same without encoding", ask(request("/exact".replace("e", "\uff45")))),
    denied("Microsoft's encoding", ask(request("/%u0065xact"))),
    denied("an encoding that is none", ask(request("/public/%zz"))),
    denied("dot segments", ask(request("/public/../admin"))),
    denied("encoded dot segments", ask(request("/public/%2e%2e/admin"))),
    denied("a backslash for a slash", ask(request("/public\\..\\admin"))),
    denied("two slashes", ask(request("//admin"))),
    allowed("absolute form", ask(request("http://h/public/x", "h"))),
    denied("absolute form of another path", ask(request("http://h/admin", "h"))),
    denied("absolute form against the Host header", ask(request("http://a.foo.com/z", "evil.org"))),
    denied("Host header against the absolute form", ask(request("http://evil.org/z", "a.foo.com"))),
    # ------------------------------------------------------------------------------------------ a connection's requests
    allowed("three on one connection", ask(OK), ask(request("/exact")), ask(request("/z", "a.foo.com")), served=3),
    denied("the second is denied", ask(OK), ask(BAD), served=1),
    denied("the twenty-first is denied", *(ask(OK) for _ in range(20)), ask(BAD), served=20),
    denied("half of another entry", ask(OK), ask(request("/both/x", "h", "POST")), served=1),
    allowed("two in one segment", ask(OK + request("/exact")), served=2),
    cut("the second of a segment is denied", ask(OK + BAD), served=1),
    cut("the first of a segment is denied", ask(BAD + OK), served=0),
    cut("one after the other without waiting", send(OK), send(BAD), served=1),
    cut("ten, and one that is split", send(OK * 10 + BAD[:9]), send(BAD[9:]), served=10),
    cut("pipelined into a denial", *(send(OK) for _ in range(30)), send(BAD), served=30),
    allowed("a body, then another", ask(post(body=b"x" * 5000)), ask(OK), served=2),
    denied("a body, then a denied one", ask(post(body=b"x" * 5000)), ask(BAD), served=1),
    denied("a long body, then a denied one", ask(post(body=b"x" * 1_500_000)), ask(BAD), served=1),
    allowed("a body that looks like a denied request", ask(post(body=BAD))),
    allowed("the same in a segment of its own", send(post(body=BAD)[: -len(BAD)]), ask(BAD)),
    denied(
        "a chunked body, then a denied one",
        ask(post_chunked := request("/z", "a.foo.com", "POST", headers=CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n")),
        ask(BAD),
        served=1,
    ),
    cut("a denied one behind a chunked body", ask(post_chunked + BAD), served=1),
    denied(
        "a GET with a body, then a denied one",
        ask(request(headers="Content-Length: 4\r\n", body=b"abcd")),
        ask(BAD),
        served=1,
    ),
    # ------------------------------------------------------------------------------------------ pieces
    allowed("a byte a segment", ask(OK, 1)),
    denied("a byte a segment, denied", ask(BAD, 1)),
    allowed("a byte a segment, by host", ask(request("/z", "a.foo.com"), 1)),
    denied("a byte a segment, the second", ask(OK), ask(BAD, 1), served=1),
    *(allowed(f"split after {at}", send(OK[:at]), ask(OK[at:])) for at in range(1, len(OK))),
    *(denied(f"split after {at}, denied", send(BAD[:at]), ask(BAD[at:])) for at in range(1, len(BAD))),
    allowed("8 KB of path", ask(request("/public/" + "a" * 8000))),
    allowed("8 KB of path with text in it", ask(request(f"/{'a' * 8000}/v9/{'b' * 4000}"))),
    denied("8 KB of another path", ask(request("/padmin/" + "a" * 8000))),
    allowed("8 KB of path in small pieces", ask(request("/public/" + "a" * 8000), 100)),
    allowed("8 KB before the Host header", ask(request("/z", None, headers=f"X: {'a' * 8000}\r\nHost: a.foo.com\r\n"))),
    denied("8 KB of headers, denied", ask(request("/admin", headers=f"X: {'a' * 8000}\r\n"))),
    # ------------------------------------------------------------------------------------------ odd requests
    allowed("HTTP/1.0", ask(request(host=None, version="HTTP/1.0"))),
    denied("HTTP/1.0, denied", ask(request("/admin", None, version="HTTP/1.0"))),
    denied("HTTP/0.9", ask(b"GET /public/x\r\n")),
    allowed("no Host, by path", ask(request(host=None))),
    denied("no Host, by host", ask(request("/z", None))),
    denied("two Hosts", ask(request("/z", "a.foo.com", headers="Host: evil.org\r\n"))),
    denied("two Hosts, the other first", ask(request("/z", "evil.org", headers="Host: a.foo.com\r\n"))),
    denied("a folded Host", ask(request("/z", "evil.org\r\n a.foo.com"))),
    denied("a NUL in the Host", ask(request("/z", "evil.org\x00.foo.com"))),
    denied("a lower-case method", ask(request(method="get"))),
    denied("a lower-case method, the second", ask(OK), ask(request(method="get")), served=1),
    denied("CONNECT", ask(request("a.foo.com:80", "a.foo.com", "CONNECT"))),
    denied("CONNECT, the second", ask(OK), ask(request("a.foo.com:80", "a.foo.com", "CONNECT")), served=1),
    denied("HTTP/2 with prior knowledge", ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")),
    denied("HTTP/2 on an open connection", ask(OK), ask(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), served=1),
    denied(
        "two lengths",
        ask(request("/z", "a.foo.com", "POST", headers=f"Content-Length: 4\r\n{CHUNKED}", body=b"0\r\n\r\n")),
    ),
    denied(
        "two different lengths",
        ask(request("/z", "a.foo.com", "POST", headers="Content-Length: 4\r\nContent-Length: 9\r\n", body=b"abcd")),
    ),
    denied("tabs in the request line", ask(OK), ask(b"GET\t/public/x\tHTTP/1.1\r\nHost: h\r\n\r\n"), served=1),
    denied("two URIs in the request line", ask(OK), ask(b"GET /admin /public/x HTTP/1.1\r\nHost: h\r\n\r\n"), served=1),
    allowed("line feeds alone", ask(OK.replace(b"\r\n", b"\n"))),
    denied("line feeds alone, denied", ask(BAD.replace(b"\r\n", b"\n"))),
    denied(
        "an upgrade to HTTP/2 that the server ignores, then a denied one",
        ask(request("/z", "a.foo.com", headers="Upgrade: h2c\r\nConnection: Upgrade\r\n")),
        ask(BAD),
        served=1,
    ),
    # ------------------------------------------------------------------------------------------ no requests
    denied("text", ask(b"hello\r\n"), port=ECHO_PORT),
    denied("one byte", ask(b"x"), port=ECHO_PORT),
    denied("text, a byte a segment", ask(b"hello\r\n", 1), port=ECHO_PORT),
    denied("SSH from the client", ask(b"SSH-2.0-client\r\n"), port=ECHO_PORT),
    denied("a beginning of GET, then text", send(b"GE"), ask(b"hello"), served=1, port=ECHO_PORT),
    denied("GET and 3 KB of bytes", ask(b"GET \x00\x01" + b"\x80" * 3000), port=ECHO_PORT),
    denied("a server that speaks first", port=BANNER_PORT),
    denied("text to the port of HTTP", ask(b"hello\r\n")),
    denied("text to the port of TLS", ask(b"hello\r\n"), port=TLS_PORT),
    denied("a denied request to the port of TLS", ask(BAD), port=TLS_PORT),
    denied("a record of TLS that is no ClientHello", ask(b"\x16\x03\x01\x00\x10\x02" + b"a" * 15), port=ECHO_PORT),
]


class Place(Protocol):
    """Where a client and a server stand, with an engine between them."""

    def seen_from(self, source: int) -> list[bytes]:
        """What reached the server from this port: the heads of whole requests, and what came to its other ports."""

    def connect(self, port: int, family: int = 4) -> socket.socket:
        """A connection of the client's, from a port that none had before."""


class Played(NamedTuple):
    served: int
    """How many requests the server had whole."""

    reset: bool
    """Whether the connection ended in a reset, as the client sees it."""

    source: int
    """The client's port."""


def play(place: Place, case: Case, family: int) -> tuple[int, bool]:
    """The first two of them."""
    return played(place, case, family)[:2]


def played(place: Place, case: Case, family: int) -> Played:
    reset = False
    sock = place.connect(case.port, family)
    source: int = sock.getsockname()[1]
    if case.pipelined:
        sock.settimeout(SILENT_S)
    try:
        for part in case.parts:
            send_in(sock, part.data, part.step)
            if part.waits:
                received(sock)
        if not case.parts or not case.parts[-1].waits:
            while True:
                received(sock)
    except ConnectionError:
        reset = True
    except TimeoutError:
        reset = False
    finally:
        sock.close()
    time.sleep(0.005)
    return Played(len(place.seen_from(source)), reset, source)
