"""Meters: how many packets a second a flow may hand on. They are not taken in bundles: set them before.

Source: OpenFlow 1.5.1 section 7.3.4.5; Open vSwitch knows bands that drop, and no others.
"""

from enum import IntEnum
from struct import Struct

import msgspec


class MeterCommand(IntEnum):
    """What to do: enum ofp_meter_mod_command."""

    ADD = 0
    MODIFY = 1
    DELETE = 2


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
    if command is MeterCommand.DELETE:
        return fixed
    return fixed + _BAND.pack(_DROP, _BAND.size, meter.packets_per_second, meter.burst)
