"""What becomes of answers of DNS that the switch holds, and what they teach."""

from collections import Counter
from struct import Struct
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts.ids import Address, GroupId, Uid
from sluice.contracts.programs import Action, Direction, FqdnPeer
from sluice.dataplane.dns.message import PORT, Kind, Unreadable
from sluice.dataplane.dns.writing import Record, answer, question
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.fqdn import Bounds, Full
from sluice.dataplane.ovs.fqdn_answers import NotBelieved
from sluice.dataplane.ovs.ids import RuleIds
from sluice.drivers.openflow.packets import PacketIn
from sluice.services.node_ovs import answers as answers_module
from sluice.services.node_ovs.answers import HOLD_S, MOST_HELD, Answers
from sluice.services.node_ovs.naming import Naming, NamingRules, NoPod
from sluice.testkit.examples import share
from sluice.testkit.worlds import HERE, TIER_UNITS, member, page, port, program, rule

MINE = GroupId("mine")
POD, SERVER, ONE = port("x/a"), Address("203.0.113.53"), Address("192.0.2.1")
IPV4, UDP, TCP = Struct("!BBHHHBBH4s4s"), Struct("!HHHH"), Struct("!HHIIBBHHH")
CLIENT = bytes(map(int, POD.addresses[0].split(".")))


def told(name: str = "www.a.com", *addresses: str, ttl_s: int = 60) -> bytes:
    return answer(question(7, name, Kind.A), [Record(name, each, ttl_s) for each in addresses or (ONE,)])


def datagram(payload: bytes, *, length: int | None = None, target: bytes = CLIENT, proto: int = 17) -> bytes:
    carried = UDP.pack(PORT, 4000, 8 + len(payload) if length is None else length, 0) + payload
    return frame(carried, target, proto)


def segment(payload: bytes, sequence: int, flags: int = 0x10) -> bytes:
    return frame(TCP.pack(PORT, 4000, sequence, 0, 5 << 4, flags, 0, 0, 0) + payload, CLIENT, 6)


def frame(carried: bytes, target: bytes, proto: int, fragment: int = 0) -> bytes:
    header = IPV4.pack(
        0x45, 0, 20 + len(carried), 0, fragment, 64, proto, 0, bytes(map(int, SERVER.split("."))), target
    )
    return bytes(12) + b"\x08\x00" + header + carried


def ipv6_fragment(payload: bytes) -> bytes:
    """The first of several."""
    carried = bytes((17, 0, 0, 1)) + bytes(4) + UDP.pack(PORT, 4000, 8 + len(payload), 0) + payload
    header = Struct("!IHBB").pack(6 << 28, len(carried), 44, 64) + bytes(15) + b"\1" + bytes(15) + b"\2"
    return bytes(12) + b"\x86\xdd" + header + carried


def naming(action: Action = Action.ALLOW, pattern: str = "*.a.com", **rules) -> Naming:
    engine = Engine(HERE, RuleIds())
    found = Naming(engine, NamingRules(**rules))
    engine.put_page(page(MINE, HERE, member("x/a")))
    engine.open_port(POD)
    about = rule(0, Direction.EGRESS, action, (FqdnPeer(pattern=pattern),))
    engine.put_program(program(TIER_UNITS[0], MINE, about, tier=250, priority=1))
    found.settle(0)
    return found


def holder(address: Address) -> Uid | None:
    return POD.uid if address in POD.addresses else None


def test_an_answer_waits_and_what_it_tells_is_known():
    names = naming()

    assert names.hear(datagram(told()), holder, 0)
    assert {(fact.pattern, fact.address, fact.holder) for fact in names.names.facts} == {("*.a.com", ONE, POD.uid)}


def test_over_tcp_too_and_what_comes_again_waits_as_well():
    names, octets = naming(), len(told()).to_bytes(2, "big") + told()

    assert not names.hear(segment(b"", 100, 0x12), holder, 0)
    assert not names.hear(segment(octets[:5], 101), holder, 0)
    assert names.hear(segment(octets[5:], 106), holder, 0)
    assert names.hear(segment(octets[5:], 106), holder, 0)
    assert len(names.names) == 1


class Refused(NamedTuple):
    name: str
    octets: bytes
    why: type[Exception]
    rules: dict[str, Any]


REFUSED = [
    Refused("no DNS", datagram(b"hello"), Unreadable, {}),
    Refused("a question", datagram(question(7, "www.a.com", Kind.A)), Unreadable, {}),
    Refused("a fragment", datagram(told(), length=1400), Unreadable, {}),
    Refused(
        "a fragment of TCP", frame(TCP.pack(PORT, 4000, 1, 0, 5 << 4, 2, 0, 0, 0), CLIENT, 6, 0x2000), Unreadable, {}
    ),
    Refused("a fragment over IPv6", ipv6_fragment(told()), Unreadable, {}),
    Refused("cut short", datagram(told())[:40], Unreadable, {}),
    Refused("neither UDP nor TCP", datagram(told(), proto=132), Unreadable, {}),
    Refused("not the address of a Pod", datagram(told(), target=b"\x0a\0\0\x63"), NoPod, {}),
    Refused("of a stranger", datagram(told()), NotBelieved, {"servers": (Address("203.0.113.54"),)}),
    Refused("the middle of a stream", segment(b"\0\1" + told(), 900), Unreadable, {}),
]


@pytest.mark.parametrize("case", REFUSED, ids=[case.name for case in REFUSED])
def test_what_must_not_pass_teaches_nothing(case: Refused):
    names = naming(**case.rules)

    with pytest.raises(case.why):
        names.hear(case.octets, holder, 0)
    assert not names.names.facts


def test_what_there_is_no_room_for_does_not_pass_when_it_comes_again():
    names = naming(Action.DROP, bounds=Bounds(addresses_per_pod=1))
    octets = told("b.a.com", "192.0.2.2")
    octets = len(octets).to_bytes(2, "big") + octets
    names.hear(datagram(told()), holder, 0)
    names.hear(segment(b"", 100, 0x12), holder, 0)

    with pytest.raises(Full):
        names.hear(segment(octets, 101), holder, 0)
    with pytest.raises(Unreadable):
        names.hear(segment(octets, 101), holder, 0)


@share(60)
@given(st.binary(max_size=60), st.integers(0, 80), st.integers(0, 255))
def test_no_packet_of_a_stranger_opens_anything_but_what_it_tells(noise: bytes, at: int, octet: int):
    names = naming()
    for octets in (noise, datagram(noise), segment(noise, 1), _changed(datagram(told()), at, octet)):
        try:
            names.hear(octets, holder, 0)
        except (Unreadable, Full):
            continue
    assert len(names.names) <= 1


def _changed(octets: bytes, at: int, octet: int) -> bytes:
    return octets[:at] + bytes((octet,)) + octets[at + 1 :]


def test_a_pod_that_is_gone_was_told_nothing():
    names = naming()
    names.hear(datagram(told()), holder, 0)
    names.settle(0)

    names.left([], POD.addresses)

    assert not len(names.names)


def test_names_of_rules_that_drop_are_asked_for_and_those_of_others_are_not():
    assert naming(Action.ALLOW, "www.a.com").questions(0) == []
    assert naming(Action.DROP, "*.a.com").questions(0) == []
    assert naming(Action.DROP, "www.a.com", ahead=False).questions(0) == []
    assert naming(Action.REJECT, "www.a.com").questions(0) == ["www.a.com"]


# ---------------------------------------------------------------------------------------------------- held and released


class FakeSwitch:
    def __init__(self) -> None:
        self.resumed: list[PacketIn] = []

    def resume(self, packet: PacketIn) -> None:
        self.resumed.append(packet)


class Held:
    """Answers with a clock of the test's own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s, self.news = 100.0, 0
        monkeypatch.setattr(answers_module, "monotonic", lambda: self.now_s)
        self.counted = Counter[str]()
        monkeypatch.setattr(answers_module, "_answers", self)
        self.naming = naming()
        self.settled = False
        self.answers = Answers(self.naming, holder, self._told, lambda: self.settled)
        self.switch = FakeSwitch()

    def _told(self) -> None:
        self.news += 1

    def add(self, amount: int, label: str) -> None:
        self.counted[label] += amount

    def take(self, octets: bytes) -> PacketIn:
        packet = PacketIn(octets, b"\3", 0, 0, (), held=True, octets=b"")
        self.answers.take(self.switch, packet)  # type: ignore[arg-type]  # as far as it is asked
        return packet

    def release(self, switch: FakeSwitch | None = None) -> list[PacketIn]:
        self.answers.release(switch or self.switch)  # type: ignore[arg-type]  # the same
        return self.switch.resumed


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


def test_an_answer_goes_on_when_the_switch_has_what_it_tells_and_not_before(held: Held):
    packet = held.take(datagram(told()))
    assert held.news == 1
    assert held.release() == [], "nobody has read it yet"

    held.answers.read(held.now_s)
    assert held.switch.resumed == [], "and now the switch is told"
    assert held.release() == [packet]
    assert held.counted == {"released": 1}


def test_one_that_tells_nothing_new_goes_on_at_once(held: Held):
    held.settled = True
    first = held.take(datagram(told()))
    assert (held.switch.resumed, held.news) == ([], 1)
    held.naming.settle(0)
    held.release()

    again = held.take(datagram(told()))
    assert held.switch.resumed == [first, again]
    new = held.take(datagram(told("b.a.com", "192.0.2.2")))
    known = held.take(datagram(told()))
    assert held.switch.resumed == [first, again], "what is known waits for what came before it"
    held.answers.read(held.now_s)
    assert held.release() == [first, again, new, known]


@pytest.mark.parametrize("settled", [False, True])
def test_what_is_known_waits_while_the_switch_is_behind(held: Held, settled: bool):
    held.naming.hear(datagram(told()), holder, 0)
    held.naming.settle(0)
    held.settled = settled
    packet = held.take(datagram(told()))

    assert held.switch.resumed == ([packet] if settled else [])


def test_in_the_order_in_which_they_came(held: Held):
    packets = [held.take(datagram(told(f"{number}.a.com"))) for number in range(3)]
    held.answers.read(held.now_s)

    assert held.release() == packets


def test_what_tells_nothing_does_not_wait(held: Held):
    packet = held.take(segment(b"", 100, 0x12))
    held.answers.read(held.now_s)

    assert held.switch.resumed == [packet]


@pytest.mark.parametrize("is_read", [False, True])
def test_after_two_seconds_it_is_dropped(held: Held, is_read: bool):
    held.take(datagram(told()))
    if is_read:
        held.answers.read(held.now_s)
    held.now_s += HOLD_S + 0.01
    held.answers.report()
    held.answers.read(held.now_s)

    assert held.release() == []
    assert held.counted == {"late": 1}


def test_what_cannot_be_read_is_dropped_and_counted_by_reason(held: Held):
    for octets in (datagram(b"?"), datagram(told(), target=b"\x0a\0\0\x63")):
        held.take(octets)
    held.answers.read(held.now_s)

    assert held.release() == []
    assert held.counted == {"unreadable": 1, "no_pod": 1}


def test_what_a_switch_held_that_is_gone_is_not_sent_to_another(held: Held):
    held.take(datagram(told()))
    held.answers.read(held.now_s)

    assert held.release(FakeSwitch()) == []
    assert held.counted == {"late": 1}


def test_there_is_an_end_to_what_is_held(held: Held):
    for _ in range(MOST_HELD + 3):
        held.take(datagram(told()))

    assert held.counted == {"too_many": 3}
