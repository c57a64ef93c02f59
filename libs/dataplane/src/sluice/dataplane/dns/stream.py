"""DNS over TCP for a switch that can only pass or hold segments: which segments complete a message.

Segments pass at once until one completes a message. That one must wait until the message was acted upon; without its
end, the message is of no use to the client. A stream is followed only from its beginning (SYN), because what looks like
a message in the middle of one may be record data that an attacker chose. If anything cannot be parsed, the whole stream
fails: no more of its data passes.

Source: RFC 1035 section 4.2.2 (two octets of length before each message), RFC 9293 section 3.1 (segments).
"""

from collections import OrderedDict
from struct import Struct
from typing import NamedTuple

from sluice.dataplane.dns.message import Answer, Unreadable, read
from sluice.dataplane.frame import Frame

MAX_STREAMS = 1024
"""Maximum number of streams; the longest idle one is dropped."""

MAX_STREAMS_OF_ONE = 32
"""Maximum number of streams of one Pod, so that it can only evict its own."""

_TCP = Struct("!HHIIBB")
"""Ports, sequence, acknowledgement, offset, flags."""

_FIN, _SYN, _RST = 0x01, 0x02, 0x04
_HALF = 1 << 31


class Early(Unreadable):
    """The segment arrived before its predecessor. Its sender will retransmit it."""


class Segment(NamedTuple):
    """The content of a segment: `answers` to act upon before it may pass."""

    answers: tuple[Answer, ...] = ()
    again: bool = False
    """It repeats earlier data that may be held: it must not overtake that."""


class _Stream:
    __slots__ = ("expected", "failed", "held")

    def __init__(self, expected: int) -> None:
        self.expected = expected
        """The sequence number of the next byte."""

        self.held = bytearray()
        """The beginning of an incomplete message."""

        self.failed = False


class _Key(NamedTuple):
    client: bytes
    client_port: int
    server: bytes


class Streams:
    """The server-to-client halves of connections. Mutable; a call costs time proportional to the segment."""

    def __init__(self) -> None:
        self._streams: OrderedDict[_Key, _Stream] = OrderedDict()
        self._of: dict[bytes, OrderedDict[_Key, None]] = {}

    def __len__(self) -> int:
        return len(self._streams)

    def take(self, frame: Frame) -> Segment:
        """Process a segment sent by a server.

        Raises:
            Unreadable: it must not pass.
        """
        carried = frame.payload
        if len(carried) < _TCP.size + 6:
            raise Unreadable("cut short in a TCP header")
        _, client_port, sequence, _, offset, flags = _TCP.unpack_from(carried)
        key = _Key(frame.target, client_port, frame.source)
        data = carried[max(offset >> 4, 5) * 4 :]
        if flags & _SYN:
            if data:
                raise Unreadable("an answer before the connection is there")
            self._open(key, sequence + 1)
            return Segment()
        stream = self._streams.get(key)
        if flags & _RST or (flags & _FIN and not data and stream is not None and not stream.held):
            self._close(key)
            return Segment()
        if not data:
            return Segment()
        if stream is None:
            raise Unreadable("of a connection that was not seen from its beginning")
        self._streams.move_to_end(key)
        self._of[key.client].move_to_end(key)
        return self._read(stream, sequence, data)

    def fail(self, frame: Frame) -> None:
        """Let no more of the segment's connection pass: its answer cannot be acted upon."""
        stream = self._streams.get(_Key(frame.target, int.from_bytes(frame.payload[2:4], "big"), frame.source))
        if stream is not None:
            stream.failed = True
            stream.held.clear()

    def forget(self, client: bytes) -> None:
        """Forget the streams of the Pod with this address, which is gone."""
        for key in tuple(self._of.get(client, ())):
            self._close(key)

    def _read(self, stream: _Stream, sequence: int, data: bytes) -> Segment:
        known = (stream.expected - sequence) & 0xFFFFFFFF
        if stream.failed:
            raise Unreadable("of a connection that carried something else than DNS")
        if known >= _HALF:
            raise Early("before the segment that it follows")
        if known >= len(data):
            return Segment(again=True)
        stream.expected = (sequence + len(data)) & 0xFFFFFFFF
        stream.held += data[known:]
        answers: list[Answer] = []
        while len(stream.held) >= 2 and len(stream.held) >= 2 + (size := int.from_bytes(stream.held[:2], "big")):
            try:
                answers.append(read(bytes(stream.held[2 : 2 + size])))
            except Unreadable:
                stream.failed = True
                stream.held.clear()
                raise
            del stream.held[: 2 + size]
        return Segment(tuple(answers), again=known > 0)

    def _open(self, key: _Key, expected: int) -> None:
        known = self._streams.get(key)
        if known is not None and known.expected == expected & 0xFFFFFFFF:
            return  # retransmitted
        self._close(key)
        of = self._of.setdefault(key.client, OrderedDict())
        if len(of) >= MAX_STREAMS_OF_ONE:
            self._close(next(iter(of)))
        if len(self._streams) >= MAX_STREAMS:
            self._close(next(iter(self._streams)))
        self._streams[key] = _Stream(expected & 0xFFFFFFFF)
        self._of.setdefault(key.client, of)[key] = None

    def _close(self, key: _Key) -> None:
        if self._streams.pop(key, None) is not None:
            of = self._of[key.client]
            del of[key]
            if not of:
                del self._of[key.client]
