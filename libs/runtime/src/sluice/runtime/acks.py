"""What JetStream answers to a publish."""

from typing import NamedTuple

import msgspec
from nats.aio.msg import Msg

WRONG_LAST_SEQUENCE = {10071, 10164}
"""The subject's last sequence is not the expected one: somebody stored something else, or this very message. The second
is said by a leader whose replicas have not agreed to the last message yet.
Source: nats-server, errors.json, JSStreamWrongLastSequenceErrF and JSStreamWrongLastSequenceConstantErr."""

IN_PROCESS = 10158
"""An earlier try of this message waits for the replicas. Source: the same, JSStreamDuplicateMessageConflict."""


class Stored(NamedTuple):
    sequence: int


class Conflict(NamedTuple):
    """Read back what is there, then decide."""


class Nowhere(NamedTuple):
    """No stream took it, or none did yet: try again."""


class Refused(NamedTuple):
    """The stream does not want it: it is full, or the message is too large. The old value stays."""

    reason: str


Ack = Stored | Conflict | Nowhere | Refused


class _Error(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _PubAck(msgspec.Struct):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _Error | None = None


_decoder = msgspec.json.Decoder(_PubAck)


def parse(answer: Msg) -> Ack:
    """What the answer says.

    Raises:
        msgspec.MsgspecError: it is not an answer of JetStream's.
    """
    if answer.headers and "Status" in answer.headers:
        return Nowhere()  # 503: nobody listens on the subject
    ack = _decoder.decode(answer.data)
    if ack.error is not None:
        if ack.error.err_code in WRONG_LAST_SEQUENCE:
            return Conflict()
        if ack.error.err_code == IN_PROCESS:
            return Nowhere()
        return Refused(f"{ack.error.description} ({ack.error.err_code})")
    if ack.duplicate:  # of a message that may have been overwritten since
        return Conflict()
    return Stored(ack.seq)
