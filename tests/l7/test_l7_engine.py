"""Rule sets against a real engine: the table of clients, and what is no matter of a single connection."""

import asyncio
import socket
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from itertools import islice
from typing import Any

import pytest
from tests.l7.rig import TAPS, VLAN, Hand, Rig, received, running
from tests.l7.server import ECHO_PORT, HTTP_PORT, TLS_PORT
from tests.l7.table import (
    BAD,
    CASES,
    HTTP,
    OK,
    TLS,
    WHOLE,
    Case,
    Part,
    allowed,
    ask,
    denied,
    play,
    played,
    post,
    request,
    send,
)

from sluice.contracts.l7 import HttpMatch, L7Match, TlsMatch
from sluice.dataplane.l7.ruleset import compile_rules
from sluice.drivers.openflow.switch import Switch
from sluice.drivers.suricata.checking import MOST, refusals
from sluice.drivers.suricata.nudging import FRAME, Nudges
from sluice.drivers.suricata.probing import Prober

pytestmark = [pytest.mark.datapath, pytest.mark.slow]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    rules = compile_rules((*HTTP, *TLS), policy="AntreaNetworkPolicy:x/p")
    with running("l7", tmp_path_factory.mktemp("l7"), rules) as one:
        yield one


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_what_becomes_of_it(rig: Rig, case: Case, family: int) -> None:
    served, reset, source = played(rig, case, family)

    assert reset is case.reset or case.pipelined
    assert not case.reset or case.pipelined or rig.server_was_reset(source)
    if case.port == ECHO_PORT:
        assert b"hello" not in b"".join(rig.seen_from(source))
    elif case.pipelined:
        assert served <= case.served
    else:
        assert served == case.served


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("step", [1, 5, 60, 300, WHOLE])
@pytest.mark.parametrize(
    ("sni", "passes"),
    [
        ("foo.bar.com", True),
        ("FOO.Bar.com", True),
        ("a.wild.com", True),
        ("wild.com", False),
        ("evil.org", False),
        (None, False),
    ],
)
def test_a_handshake_is_judged_by_its_name(
    rig: Rig, sni: str | None, step: int, family: int, *, large: bool, passes: bool
) -> None:
    if large and step < 300:
        step *= 40
    sock = rig.connect(TLS_PORT, family)
    source = sock.getsockname()[1]
    with sock:
        if passes:
            hand = Hand(sock, sni, step, large=large)
            assert hand.ask(BAD).startswith(b"HTTP/1.1 200")  # what is inside is not looked at
        else:
            with pytest.raises(ConnectionError):
                Hand(sock, sni, step, large=large)
            assert rig.server_was_reset(source)


SLOW_BYTES = 4
"""That come a second apart, before the others."""


def test_who_is_slow_is_judged_as_others_are(rig: Rig) -> None:
    asked = [(rig.connect(HTTP_PORT, family), text) for family in (4, 6) for text in (OK, BAD)]
    for at in range(SLOW_BYTES):
        for sock, text in asked:
            sock.sendall(text[at : at + 1])
        time.sleep(1)
    for sock, text in asked:
        with sock:
            sock.sendall(text[SLOW_BYTES:])
            if text == OK:
                assert received(sock)
            else:
                with pytest.raises(ConnectionError):
                    received(sock)


def test_alerts_name_the_policy(rig: Rig) -> None:
    before = len(rig.events("alert"))
    play(rig, denied("", ask(BAD)), 4)
    until = time.monotonic() + 60
    while len(alerts := rig.events("alert")) == before and time.monotonic() < until:
        time.sleep(0.05)

    event = alerts[before]
    assert event["in_iface"] == "antrea-l7-tap0"
    assert event["vlan"] == [event["tenant_id"]]
    said = event["alert"]
    assert (said["gid"], said["signature_id"], said["rev"], said["action"]) == (1, 1, 0, "blocked")
    assert said["signature"] == "Reject by AntreaNetworkPolicy:x/p"
    assert rig.events("packet") == []


HOSTILE = ('"', ";", "|", ":", "$(x)", "+", " ", "\n", ") ", "a|61|", "^x$/i")


def test_hostile_text_is_a_path_like_another(rig: Rig) -> None:
    """Each as its own entry: allowed as it is, and nothing else is."""
    try:
        for text in HOSTILE:
            rig.reload(compile_rules((HttpMatch(path=f"/{text}x"),), policy="P"))
            written = "".join(f"%{byte:02x}" for byte in text.encode())
            assert play(rig, allowed(text, ask(request(f"/{written}x"))), 4) == (1, False), text
            assert play(rig, denied(text, ask(request("/x"))), 4) == (0, True), text
    finally:
        rig.reload(compile_rules((*HTTP, *TLS), policy="AntreaNetworkPolicy:x/p"))


SETS: list[tuple[str, tuple[L7Match, ...], bool, bool, bool, bool]] = [
    # name, entries, then: OK, BAD, a known server name, another
    ("requests alone", HTTP, True, False, False, False),
    ("any request", (HttpMatch(),), True, True, False, False),
    ("handshakes alone", TLS, False, False, True, False),
    ("any handshake", (TlsMatch(),), False, False, True, True),
    ("any request and some handshakes", (HttpMatch(), *TLS), True, True, True, False),
    ("some requests and any handshake", (*HTTP, TlsMatch()), True, False, True, True),
]


@pytest.mark.parametrize(("name", "entries", "ok", "bad", "known", "other"), SETS, ids=[one[0] for one in SETS])
def test_mixtures(
    rig: Rig, name: str, entries: tuple[L7Match, ...], *, ok: bool, bad: bool, known: bool, other: bool
) -> None:
    def shakes(sni: str) -> bool:
        with rig.connect(TLS_PORT) as sock:
            try:
                Hand(sock, sni)
            except ConnectionError:
                return False
            return True

    rig.reload(compile_rules(entries, policy="P"))
    try:
        assert play(rig, Case("", (ask(OK),), 1, reset=False), 4) == (int(ok), not ok)
        assert play(rig, Case("", (ask(BAD),), 1, reset=False), 4) == (int(bad), not bad)
        assert shakes("foo.bar.com") is known
        assert shakes("evil.org") is other
        assert play(rig, denied("", ask(b"hello\r\n"), port=ECHO_PORT), 4) == (0, True)
    finally:
        rig.reload(compile_rules((*HTTP, *TLS), policy="AntreaNetworkPolicy:x/p"))


def test_a_changed_policy_is_for_open_connections_too(rig: Rig) -> None:
    kept, removed, idle, uploading, halfway = (rig.connect(HTTP_PORT) for _ in range(5))
    secured = [rig.connect(TLS_PORT) for _ in range(3)]
    names = ("a.wild.com", "foo.bar.com", "a.wild.com")
    named, unnamed, quiet = (Hand(sock, sni) for sock, sni in zip(secured, names, strict=True))
    for sock in (kept, removed):
        sock.sendall(OK)
        received(sock)
    idle.sendall(request("/exact"))
    received(idle)
    uploading.sendall(post(body=b"x" * 100_000)[:50_000])
    halfway.sendall(OK[:20])
    time.sleep(0.05)
    entries = (HttpMatch(path="/public/*", method="GET"), HttpMatch(host="*.foo.com"), TlsMatch(sni="*.wild.com"))
    try:
        rig.reload(compile_rules(entries, policy="P"))

        kept.sendall(OK)
        assert received(kept)
        removed.sendall(request("/x/v9/y"))
        with pytest.raises(ConnectionError):
            received(removed)
        uploading.sendall(post(body=b"x" * 100_000)[50_000:])
        assert received(uploading)
        halfway.sendall(OK[20:])
        assert received(halfway)
        assert named.ask(OK)
        assert named.ask(OK)
        with pytest.raises(ConnectionError):
            unnamed.ask(OK)

        rig.reload(compile_rules((HttpMatch(path="/exact"), TlsMatch(sni="*.com")), policy="P"))

        idle.sendall(request("/exact"))
        assert received(idle)
        assert quiet.ask(OK)
        kept.sendall(OK)
        with pytest.raises(ConnectionError):
            received(kept)
    finally:
        rig.reload(compile_rules((*HTTP, *TLS), policy="AntreaNetworkPolicy:x/p"))
        for sock in (kept, removed, idle, uploading, halfway, *secured):
            sock.close()


KEPT = [
    ("a request", (ask(BAD),), HTTP_PORT, BAD),
    ("the second of a connection", (ask(OK), ask(BAD)), HTTP_PORT, BAD),
    ("the hundredth", (*(ask(OK) for _ in range(99)), ask(BAD)), HTTP_PORT, BAD),
    ("what completes a request", (send(BAD[:20]), ask(BAD[20:])), HTTP_PORT, BAD[20:]),
    ("what is no request", (ask(b"hello\r\n"),), ECHO_PORT, b"hello\r\n"),
    ("nothing of what is allowed", (ask(OK), ask(OK)), HTTP_PORT, b""),
]


@pytest.fixture
def logged(rig: Rig) -> Iterator[Rig]:
    rig.reload(compile_rules((*HTTP, *TLS), policy="P", logged=True))
    yield rig
    rig.reload(compile_rules((*HTTP, *TLS), policy="AntreaNetworkPolicy:x/p"))


@pytest.mark.parametrize(("name", "parts", "port", "kept"), KEPT, ids=[one[0] for one in KEPT])
def test_a_logged_rule_set_keeps_the_denied_request_and_no_other(
    logged: Rig, name: str, parts: tuple[Part, ...], port: int, kept: bytes
) -> None:
    before = [logged.events(kind) for kind in ("alert", "packet")]
    play(logged, Case(name, parts, 0, reset=bool(kept), port=port), 4)
    alerts, packets = after(logged, before, wanted=int(bool(kept)))

    assert len(alerts) == len(packets) == int(bool(kept))
    for alert, packet in zip(alerts, packets, strict=True):
        assert b64decode(packet["packet"]).endswith(kept)
        same = ("flow_id", "in_iface", "vlan", "src_ip", "src_port", "dest_ip", "dest_port", "timestamp", "tenant_id")
        assert [packet[one] for one in same] == [alert[one] for one in same]
        assert packet["in_iface"] == "antrea-l7-tap0"
        assert packet["packet_info"] == {"linktype": 1}
        assert "packet" not in alert


def test_a_logged_rule_set_keeps_the_denied_handshake(logged: Rig) -> None:
    before = [logged.events(kind) for kind in ("alert", "packet")]
    with logged.connect(TLS_PORT, 6) as sock, pytest.raises(ConnectionError):
        Hand(sock, "evil.org")
    (alert,), (packet,) = after(logged, before, wanted=1)

    assert alert["tls"]["sni"] == "evil.org"
    assert b"evil.org" in b64decode(packet["packet"])


def after(
    rig: Rig, before: list[list[dict[str, Any]]], wanted: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The alerts and packets that came after those before, once there are as many as wanted, or after a second."""
    alerts, packets = map(len, before)
    until = time.monotonic() + (60 if wanted else 1)
    while time.monotonic() < until and not (
        len(rig.events("packet")) >= packets + max(wanted, 1) and len(rig.events("alert")) >= alerts + max(wanted, 1)
    ):
        time.sleep(0.05)
    return rig.events("alert")[alerts:], rig.events("packet")[packets:]


@pytest.mark.parametrize(("by", "other"), [TAPS, TAPS[::-1]])
async def test_nudges_get_to_the_engine_and_to_nobody_else(rig: Rig, by: str, other: str) -> None:
    """It hands each on to the other port, and there it ends."""
    places = (("switch", other), ("client", "eth0"), ("server", "eth0"))
    with ExitStack() as stack:
        listening = [stack.enter_context(rig.listen(space, link)) for space, link in places]
        nudges = stack.enter_context(closing(Nudges((by,), rig.netns)))
        async with nudges.given():
            while await asyncio.to_thread(listening[0].recv, 1 << 16) != FRAME:
                pass
        assert play(rig, allowed("", ask(OK)), 4) == (1, False)
        for at_a_pod in listening[1:]:
            seen = received_frames(at_a_pod)
            assert seen
            assert FRAME not in seen


def received_frames(sock: socket.socket) -> list[bytes]:
    """What has come there up to now."""
    sock.setblocking(False)
    found: list[bytes] = []
    with suppress(BlockingIOError):
        while True:
            found.append(sock.recv(1 << 16))
    return found


async def test_of_many_rule_files_those_that_the_engine_refuses_are_named() -> None:
    good = {number: compile_rules((HttpMatch(path=f"/{number}"),), policy="P").text for number in range(MOST - 3)}
    wrong = {
        "no keyword": "drop tcp any any -> any any (nonsense; sid:1;)\n",
        "cut short": good[0][:-20],
        "empty": "\n",
    }

    assert await refusals(good) == {}
    assert (await refusals({**dict(islice(good.items(), 2)), **wrong})).keys() == wrong.keys()
    assert (await refusals({"": wrong["no keyword"]})).keys() == {""}


async def test_a_probe_shows_which_rules_are_in_force(rig: Rig) -> None:
    held = compile_rules((*HTTP, *TLS), policy="AntreaNetworkPolicy:x/p").digest
    other = compile_rules(HTTP, policy="AntreaNetworkPolicy:x/p").digest
    switch = await Switch.connect(rig.switch.mgmt_socket())
    prober = Prober(TAPS[1], rig.netns)

    async def shown(digests: dict[int, str], tries: int = 1) -> frozenset[int]:
        found = frozenset[int]()
        for _ in range(tries):
            found |= await prober.shown(switch, 100, digests)
        return found

    try:
        assert await shown({VLAN: held}, tries=8) == {VLAN}
        assert await shown({VLAN: other}) == frozenset()
        assert await shown({VLAN: held, VLAN + 1: other, VLAN + 2: held}) <= {VLAN}  # the others drop all
    finally:
        prober.close()
        switch.close()
