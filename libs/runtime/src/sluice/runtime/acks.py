"""Parses JetStream's answers to publishes."""

from typing import NamedTuple

import msgspec
from nats.aio.msg import Msg

WRONG_LAST_SEQUENCE = {10071, 10164}
"""The last sequence of the subject is not the expected one: another message was stored, or this very message was. A
leader whose replicas have not yet agreed on the last message sends the second code. Source: nats-server, errors.json,
JSStreamWrongLastSequenceErrF and JSStreamWrongLastSequenceConstantErr."""

IN_PROCESS = 10158
"""An earlier attempt to store this message is waiting for the replicas. Source: as above,
JSStreamDuplicateMessageConflict."""


class Stored(NamedTuple):
    sequence: int


class Conflict(NamedTuple):
    """The subject holds another value than expected: read back what is stored, then decide."""


class Nowhere(NamedTuple):
    """No stream has stored the message, or not yet: try again."""


class Refused(NamedTuple):
    """The stream rejects the message, since the stream is full or the message is too large. The old value stays."""

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
    """Parse JetStream's answer.

    Raises:
        msgspec.MsgspecError: this is not an answer from JetStream.
    """
    if answer.headers and "Status" in answer.headers:
        return Nowhere()  # 503: no responders on the subject
    ack = _decoder.decode(answer.data)
    if ack.error is not None:
        if ack.error.err_code in WRONG_LAST_SEQUENCE:
            return Conflict()
        if ack.error.err_code == IN_PROCESS:
            return Nowhere()
        return Refused(f"{ack.error.description} ({ack.error.err_code})")
    if ack.duplicate:  # its message may have been overwritten since
        return Conflict()
    return Stored(ack.seq)
