"""Meters: how many packets per second a flow may pass on. Bundles do not take meters: set them first.

Source: OpenFlow 1.5.1 sections 7.3.4.5 and 7.3.5.14 (statistics); Open vSwitch supports only drop bands.
"""

from enum import IntEnum
from struct import Struct
from struct import error as StructError  # noqa: N812  # it is a class
from typing import NamedTuple

import msgspec

from sluice.drivers.openflow.oxm import Undecodable
from sluice.drivers.openflow.stats import MULTIPART


class MeterCommand(IntEnum):
    """enum ofp_meter_mod_command."""

    ADD = 0
    MODIFY = 1


class Meter(msgspec.Struct, frozen=True):
    id: int
    """1..0xffff0000"""

    packets_per_second: int
    burst: int
    """Packets."""


_PACKETS_AND_BURST = 2 | 4
"""OFPMF_PKTPS | OFPMF_BURST"""

_DROP = 1
"""OFPMBT_DROP"""

_METER_MOD = Struct("!HHI")
_BAND = Struct("!HHII4x")


def encode_meter_mod(command: MeterCommand, meter: Meter) -> bytes:
    """The body of a METER_MOD message."""
    fixed = _METER_MOD.pack(command, _PACKETS_AND_BURST, meter.id)
    return fixed + _BAND.pack(_DROP, _BAND.size, meter.packets_per_second, meter.burst)


METER_STATS = 9
"""OFPMP_METER_STATS"""

_WANTED = Struct("!I4x")
_STATS_OF_ONE_BAND = Struct("!4xH6x4xQ8x8xQ8x")
"""struct ofp_meter_stats: (meter), length, (flows), packets in, (octets, duration); packets and octets of its band."""


class Metered(NamedTuple):
    """What a meter has counted since it was set."""

    packets: int
    dropped: int
    """How many of them were dropped."""


def encode_stats_request(meter: int) -> bytes:
    """The body of a MULTIPART_REQUEST for the meter's statistics."""
    return MULTIPART.pack(METER_STATS, 0) + _WANTED.pack(meter)


def decode_stats(part: bytes) -> Metered:
    """The statistics of the one meter in the reply.

    Raises:
        Undecodable
    """
    try:
        _, packets, dropped = _STATS_OF_ONE_BAND.unpack_from(part)
    except StructError as error:
        raise Undecodable(f"statistics of a meter in {len(part)} octets") from error
    return Metered(packets, dropped)
