"""Answers of DNS over TCP: which segments complete a message."""

from itertools import pairwise
from struct import Struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.dataplane.dns.message import Kind, Unreadable
from sluice.dataplane.dns.stream import MAX_STREAMS, MAX_STREAMS_OF_ONE, Early, Segment, Streams
from sluice.dataplane.dns.writing import Record, answer, question
from sluice.dataplane.frame import Frame
from sluice.testkit.examples import share

TCP = Struct("!HHIIBBHHH")
SYN, ACK, FIN, RST = 0x02, 0x10, 0x01, 0x04
START = 0xFFFFFFF0
"""So that sequence numbers go round."""


def segment(data: bytes = b"", at: int = 0, flags: int = ACK, port: int = 4000, client: bytes = b"\x0a\0\0\1") -> Frame:
    """`data` as the octets of the stream from `at` on, 0-based."""
    sequence = (START + 1 + at - bool(flags & SYN)) & 0xFFFFFFFF
    carried = TCP.pack(53, port, sequence, 0, TCP.size // 4 << 4, flags, 0, 0, 0) + data
    return Frame(4, 6, b"\x0a\0\0\2", client, bytes(20) + carried, 20, True)


def opened() -> Streams:
    streams = Streams()
    assert streams.take(segment(flags=SYN | ACK)) == Segment()
    return streams


def message(name: str) -> bytes:
    octets = answer(question(7, name, Kind.A), [Record(name, "192.0.2.1", 60)])
    return len(octets).to_bytes(2, "big") + octets


ONE, TWO = message("a.com"), message("b.com")


def names(found: Segment) -> list[str]:
    return [one.name for one in found.answers]


def test_a_message_in_one_segment():
    assert names(opened().take(segment(ONE))) == ["a.com"]


def test_the_last_segment_of_a_message_waits_and_the_others_pass():
    streams = opened()

    assert [names(streams.take(segment(ONE[at : at + 1], at))) for at in range(len(ONE))] == [
        *[[]] * (len(ONE) - 1),
        ["a.com"],
    ]


def test_several_in_one_segment_and_one_across_two():
    streams = opened()

    assert names(streams.take(segment(ONE + TWO + ONE[:5]))) == ["a.com", "b.com"]
    assert names(streams.take(segment(ONE[5:], len(ONE + TWO) + 5))) == ["a.com"]


def test_what_comes_again_waits_for_what_was_held():
    streams = opened()
    streams.take(segment(ONE))

    assert streams.take(segment(ONE)) == Segment(again=True)
    assert streams.take(segment(ONE[4:], 4)) == Segment(again=True)


def test_what_is_sent_again_with_more_behind_it():
    streams = opened()
    streams.take(segment(ONE))

    found = streams.take(segment(ONE[4:] + TWO, 4))

    assert (names(found), found.again) == (["b.com"], True)


def test_what_comes_early_is_left_to_come_again():
    streams = opened()
    with pytest.raises(Early):
        streams.take(segment(ONE[9:], 9))

    streams.take(segment(ONE[:9]))
    assert names(streams.take(segment(ONE[9:], 9))) == ["a.com"]


def test_a_stream_is_read_from_its_beginning_only():
    """Else the text of a record that a stranger chose could be taken for a message."""
    with pytest.raises(Unreadable):
        Streams().take(segment(ONE))


def test_nothing_passes_before_the_connection_is_there():
    with pytest.raises(Unreadable):
        Streams().take(segment(ONE, flags=SYN | ACK))


def test_after_what_is_no_message_nothing_passes():
    streams = opened()
    with pytest.raises(Unreadable):
        streams.take(segment(b"\0\3xyz"))
    with pytest.raises(Unreadable):
        streams.take(segment(ONE, 5))
    with pytest.raises(Unreadable):
        streams.take(segment(b"\0\3xyz"))


def test_what_was_refused_does_not_pass_when_it_comes_again():
    streams = opened()
    held = segment(ONE)
    streams.take(held)
    streams.fail(held)

    with pytest.raises(Unreadable):
        streams.take(held)


@pytest.mark.parametrize("flags", [ACK, FIN | ACK, RST])
def test_what_carries_nothing_passes(flags: int):
    assert opened().take(segment(flags=flags)) == Segment()


def test_a_connection_that_ended_is_forgotten():
    streams = opened()
    streams.take(segment(flags=RST))

    assert not len(streams)


def test_a_pod_drives_out_nobody_else():
    streams = opened()
    for port in range(MAX_STREAMS_OF_ONE + 5):
        streams.take(segment(flags=SYN | ACK, port=port, client=b"\x0a\0\0\3"))

    assert len(streams) == MAX_STREAMS_OF_ONE + 1
    assert names(streams.take(segment(ONE))) == ["a.com"]


def test_there_is_an_end_to_streams():
    streams = Streams()
    for pod in range(MAX_STREAMS // MAX_STREAMS_OF_ONE + 2):
        for port in range(MAX_STREAMS_OF_ONE):
            streams.take(segment(flags=SYN | ACK, port=port, client=bytes((10, 0, 0, pod))))

    assert len(streams) == MAX_STREAMS


def test_a_pod_that_is_gone_is_forgotten():
    streams = opened()
    streams.forget(b"\x0a\0\0\1")

    assert not len(streams)


@share(50)
@given(st.lists(st.sampled_from((ONE, TWO, message("c.org"))), min_size=1, max_size=4), st.data())
def test_cut_anyhow_and_sent_twice_the_same_messages_come_out(sent: list[bytes], data: st.DataObject):
    octets, streams = b"".join(sent), opened()
    cuts = sorted({0, len(octets), *data.draw(st.lists(st.integers(0, len(octets)), max_size=5))})
    found: list[str] = []
    for start, end in pairwise(cuts):
        part = segment(octets[start:end], start)
        found += names(streams.take(part))
        if data.draw(st.booleans()):
            assert names(streams.take(part)) == []

    assert found == [{ONE: "a.com", TWO: "b.com"}.get(one, "c.org") for one in sent]
