"""What L7 entries allow."""

import re
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts.l7 import HttpMatch, L7Match, TlsMatch
from sluice.policy.l7 import Asked, HttpRequest, TlsHello, allows, pattern

API = HttpMatch(path="/api/v2/*", host="foo.bar.com", method="GET")


class Case(NamedTuple):
    name: str
    entries: tuple[L7Match, ...]
    asked: Asked
    allowed: bool


def get(path: str, host: str = "foo.bar.com", method: str = "GET") -> HttpRequest:
    return HttpRequest(method=method, host=host, path=path)


CASES = [
    Case("all that is set matches", (API,), get("/api/v2/x"), True),
    Case("the method does not", (API,), get("/api/v2/x", method="POST"), False),
    Case("the host does not", (API,), get("/api/v2/x", "bar.com"), False),
    Case("the path does not", (API,), get("/api/v1/x"), False),
    Case("one of several entries is enough", (HttpMatch(path="/a"), HttpMatch(path="/b")), get("/b"), True),
    Case("an exact path is whole", (HttpMatch(path="/index.html"),), get("/index.html5"), False),
    Case("a star in the middle of a path", (HttpMatch(path="*/v2/*"),), get("/api/v2/x"), True),
    Case("a star between text", (HttpMatch(path="/a/*/c"),), get("/a/b/b/c"), True),
    Case("text that would have to overlap", (HttpMatch(path="/aa*aa"),), get("/aaa"), False),
    Case("a star alone", (HttpMatch(path="*"),), get("/"), True),
    Case("a path with a query matches nothing", (HttpMatch(path="/a?b=*"),), get("/a"), False),
    Case("a path with a backslash matches nothing", (HttpMatch(path="/a\\b"),), get("/a\\b"), False),
    Case("a path beyond ASCII matches no path", (HttpMatch(path="/*"),), get("/é"), False),
    Case("but is one of any path", (HttpMatch(path="*"),), get("/é"), True),
    Case("a path is compared with its case", (HttpMatch(path="/a"),), get("/A"), False),
    Case("hosts have none", (HttpMatch(host="*.Foo.com"),), get("/", "WWW.foo.COM"), True),
    Case("a suffix of a host", (HttpMatch(host="*.foo.com"),), get("/", "foo.com"), False),
    Case("both ends of a host", (HttpMatch(host="*.foo.*"),), get("/", "www.foo.org"), True),
    Case("a method is whole", (HttpMatch(method="GET"),), get("/", method="GETX"), False),
    Case("nothing set: every request", (HttpMatch(),), get("/", "", "PURGE"), True),
    Case("but no handshake", (HttpMatch(),), TlsHello(sni="foo.bar.com"), False),
    Case("a server name", (TlsMatch(sni="foo.bar.com"),), TlsHello(sni="FOO.bar.com"), True),
    Case("another server name", (TlsMatch(sni="*.bar.com"),), TlsHello(sni="bar.com"), False),
    Case("no server name", (TlsMatch(sni="*.bar.com"),), TlsHello(), False),
    Case("no server name, and none asked for", (TlsMatch(),), TlsHello(), True),
    Case("no request where handshakes are allowed", (TlsMatch(),), get("/"), False),
    Case("either protocol", (TlsMatch(), API), get("/api/v2/"), True),
    Case("no entry allows nothing", (), get("/"), False),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_allows(case: Case) -> None:
    assert allows(case.entries, case.asked) is case.allowed


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_a_pattern_is_its_regular_expression(written: str, text: str) -> None:
    expected = re.fullmatch(".*".join(map(re.escape, written.split("*"))), text) is not None

    assert pattern(written).fits(text) is expected
