"""What answers of DNS tell, also those that a stranger made."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts.ids import Address
from sluice.dataplane.dns.message import HEADER, MAX_LABEL, NO_SUCH_NAME, Kind, Told, Unreadable, read
from sluice.dataplane.dns.writing import Record, answer, question
from sluice.testkit.examples import share

V4, V6, OTHER = Address("192.0.2.1"), Address("2001:db8::1"), Address("192.0.2.9")


def told(name: str, records: list[Record], kind: Kind = Kind.A) -> set[Told]:
    return set(read(answer(question(7, name, kind), records)).told)


class Case(NamedTuple):
    name: str
    asked: str
    records: list[Record]
    told: set[Told]


CASES = [
    Case("nothing", "a.com", [], set()),
    Case("an address", "a.com", [Record("a.com", V4, 60)], {Told("a.com", V4, 60)}),
    Case("of IPv6", "a.com", [Record("a.com", V6, 60)], {Told("a.com", V6, 60)}),
    Case("capitals mean nothing", "A.com", [Record("a.COM", V4, 60)], {Told("a.com", V4, 60)}),
    Case("IPv4 in IPv6 is IPv4", "a.com", [Record("a.com", f"::ffff:{V4}", 60)], {Told("a.com", V4, 60)}),
    Case("of another name", "a.com", [Record("b.com", V4, 60)], set()),
    Case(
        "one address twice lives as long as the shorter",
        "a.com",
        [Record("a.com", V4, 60), Record("a.com", V4, 5)],
        {Told("a.com", V4, 5)},
    ),
    Case(
        "an alias has the address while all of it lives",
        "a.com",
        [Record("a.com", "b.net", 9), Record("b.net", "c.org", 70), Record("c.org", V4, 60)],
        {Told("a.com", V4, 9), Told("b.net", V4, 60), Told("c.org", V4, 60)},
    ),
    Case(
        "in any order, and beside it what nobody asked for",
        "a.com",
        [Record("b.net", V4, 60), Record("x.org", OTHER, 60), Record("a.com", "b.net", 9)],
        {Told("a.com", V4, 9), Told("b.net", V4, 60)},
    ),
    Case("aliases in a circle", "a.com", [Record("a.com", "b.net", 9), Record("b.net", "a.com", 9)], set()),
    Case("no seconds", "a.com", [Record("a.com", V4, 0)], {Told("a.com", V4, 0)}),
    Case("more seconds than there are", "a.com", [Record("a.com", V4, 1 << 31)], {Told("a.com", V4, 0)}),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_what_an_answer_tells(case: Case):
    assert told(case.asked, case.records) == case.told


def test_a_name_that_does_not_exist_tells_nothing():
    found = read(answer(question(7, "a.com", Kind.A), [], rcode=NO_SUCH_NAME))

    assert (found.code, found.told, found.name, found.id) == (NO_SUCH_NAME, (), "a.com", 7)


ASKED = question(7, "a.com", Kind.A)[:-11]  # without the EDNS record
HEAD = HEADER.pack(7, 0x8180, 1, 1, 0, 0) + ASKED[HEADER.size :]
FIXED = b"\0\1\0\1\0\0\0\x3c"
BAD = {
    "empty": b"",
    "a question": question(7, "a.com", Kind.A),
    "an update": HEADER.pack(7, 0xA800, 1, 0, 0, 0) + ASKED[HEADER.size :],
    "answers to nothing": HEADER.pack(7, 0x8180, 0, 1, 0, 0) + b"\1a\0" + FIXED + b"\0\4\1\2\3\4",
    "answers to two questions": HEADER.pack(7, 0x8180, 2, 1, 0, 0) + ASKED[HEADER.size :] * 2,
    "no record where one should be": HEAD,
    "cut short in a record": HEAD + b"\xc0\x0c" + FIXED + b"\0\4\1\2",
    "an address of three octets": HEAD + b"\xc0\x0c" + FIXED + b"\0\3\1\2\3",
    "a pointer to itself": HEAD + bytes((0xC0, len(HEAD))) + FIXED + b"\0\4\1\2\3\4",
    "a pointer ahead": HEAD + bytes((0xC0, len(HEAD) + 2)) + FIXED + b"\0\4\1\2\3\4",
    "a pointer into the same name": HEAD + b"\1x" + bytes((0xC0, len(HEAD))) + FIXED + b"\0\4\1\2\3\4",
    "a label of an unknown kind": HEAD + b"\x80\x0c" + FIXED + b"\0\4\1\2\3\4",
    "a name of 300 octets": HEAD + (b"\x3b" + b"x" * 59) * 5 + b"\0" + FIXED + b"\0\4\1\2\3\4",
    "a chain of pointers": HEAD
    + b"\0\0\5\0\1\0\0\0\0"
    + (60 * 2).to_bytes(2, "big")
    + b"".join((0xC000 | len(HEAD) + 11 + at).to_bytes(2, "big") for at in range(-2, 116, 2)),
    "two aliases of one name": HEADER.pack(7, 0x8180, 1, 2, 0, 0)
    + ASKED[HEADER.size :]
    + b"".join(b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\3\1" + letter + b"\0" for letter in (b"x", b"y")),
}


@pytest.mark.parametrize("octets", BAD.values(), ids=BAD)
def test_what_is_no_answer_is_refused(octets: bytes):
    with pytest.raises(Unreadable):
        read(octets)


def test_a_dot_within_a_label_is_no_dot():
    """Else whoever owns evil.com could make a name that looks like somebody else's."""
    label = b"www.a.com"
    octets = HEADER.pack(7, 0x8180, 1, 1, 0, 0) + bytes((len(label),)) + label + b"\0\0\1\0\1"
    octets += b"\xc0\x0c" + FIXED + b"\0\4\1\2\3\4"

    assert [one.name for one in read(octets).told] == [r"www\046a\046com"]


names = st.lists(st.from_regex(r"[a-z0-9_-]{1,8}", fullmatch=True), min_size=1, max_size=4).map(".".join)
records = st.lists(
    st.builds(Record, names, st.sampled_from((V4, V6, OTHER)) | names, st.integers(0, 300)).filter(
        lambda one: one.name != one.value
    ),
    max_size=6,
)
messages = st.builds(lambda name, found: answer(question(7, name, Kind.A), found), names, records)


@share(100)
@given(messages, st.data())
def test_nothing_that_anybody_sends_does_more_than_be_refused(octets: bytes, data: st.DataObject):
    """Messages with a few octets changed, cut short, or with another message behind them."""
    changed = bytearray(octets)
    for at in data.draw(st.lists(st.integers(0, len(octets) - 1), max_size=4)):
        changed[at] = data.draw(st.sampled_from((0, 1, 12, 0x3F, 0xC0, 0xFF)) | st.integers(0, 255))
    cut = bytes(changed[: data.draw(st.integers(0, len(changed)))]) if data.draw(st.booleans()) else bytes(changed)
    try:
        found = read(cut)
    except Unreadable:
        return
    assert all(one.name and len(one.name) <= 255 * 4 and 0 <= one.ttl_s < 1 << 31 for one in found.told)


@share(50)
@given(st.binary(max_size=80))
def test_nor_do_octets_at_random(octets: bytes):
    try:
        read(HEADER.pack(7, 0x8180, 1, 3, 0, 0) + octets)
    except Unreadable:
        return


@pytest.mark.parametrize("name", ["a..com", "x" * (MAX_LABEL + 1) + ".com", "a." * 130, "ä.com"])
def test_what_is_no_name_is_not_asked_for(name: str):
    with pytest.raises(Unreadable):
        question(7, name, Kind.A)


def test_an_answer_that_does_not_fit_says_so():
    found = read(answer(question(7, "a.com", Kind.A), [Record("a.com", V4, 60)] * 40, limit=512))

    assert found.truncated
    assert not found.told
