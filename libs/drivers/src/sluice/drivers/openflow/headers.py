"""The eight-octet message header, and numbers used by several modules.

Source: OpenFlow 1.5.1 sections 7.1 and 7.2; Open vSwitch include/openflow/nicira-ext.h for NICIRA and NXT_*.
"""

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

VERSION = 6
"""OpenFlow 1.5 on the wire."""

VERSIONS = {1: "1.0", 2: "1.1", 3: "1.2", 4: "1.3", 5: "1.4", 6: "1.5"}

NICIRA = 0x00002320
"""The experimenter id of Open vSwitch's extensions."""

HEADER = Struct("!BBHI")
"""version, type, length, xid"""

LONGEST_MESSAGE = 0xFFFF
"""Octets: the length of a message is a uint16."""


class Type(IntEnum):
    """enum ofp_type."""

    HELLO = 0
    ERROR = 1
    ECHO_REQUEST = 2
    ECHO_REPLY = 3
    EXPERIMENTER = 4
    FEATURES_REQUEST = 5
    FEATURES_REPLY = 6
    SET_CONFIG = 9
    PACKET_IN = 10
    FLOW_REMOVED = 11
    PORT_STATUS = 12
    PACKET_OUT = 13
    FLOW_MOD = 14
    GROUP_MOD = 15
    MULTIPART_REQUEST = 18
    MULTIPART_REPLY = 19
    BARRIER_REQUEST = 20
    BARRIER_REPLY = 21
    METER_MOD = 29
    BUNDLE_CONTROL = 33
    BUNDLE_ADD_MESSAGE = 34


class Extension(IntEnum):
    """Subtypes of Nicira's experimenter messages (NXT_*)."""

    SET_PACKET_IN_FORMAT = 16
    SET_CONTROLLER_ID = 20
    RESUME = 28
    PACKET_IN2 = 30


class Port(IntEnum):
    """Reserved ports: enum ofp_port_no."""

    IN_PORT = 0xFFFFFFF8
    CONTROLLER = 0xFFFFFFFD
    LOCAL = 0xFFFFFFFE
    ANY = 0xFFFFFFFF


class Message(NamedTuple):
    """One received message; its version was already checked."""

    type: int
    xid: int
    body: bytes
    """What follows the header."""


class NotEncodable(ValueError):
    """A flow, group or meter that does not fit OpenFlow: our own bug, or a rule that is too large."""


def message(type: int, xid: int, body: bytes = b"") -> bytes:
    return HEADER.pack(VERSION, type, HEADER.size + len(body), xid) + body


def extension(subtype: int, xid: int, body: bytes = b"") -> bytes:
    return message(Type.EXPERIMENTER, xid, _EXTENSION.pack(NICIRA, subtype) + body)


def is_extension(body: bytes, subtype: int) -> bool:
    """Whether the body of an EXPERIMENTER message belongs to this extension."""
    return body[:8] == _EXTENSION.pack(NICIRA, subtype)


def padded(octets: bytes) -> bytes:
    """The octets, zero-padded to a multiple of eight, OpenFlow's alignment."""
    return octets + bytes(-len(octets) % 8)


_EXTENSION = Struct("!II")
