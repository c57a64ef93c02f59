"""Whether what comes in by a device has its checksums: who sends it may leave them to a card that is never reached.

The kernel says so of each packet that is read from a device. A pair of links passes such packets on as they are, and a
switch in user space forwards what it reads: whoever gets them throws them away.
"""

import socket
import struct

from sluice.dataplane.protocols import EthType, IpProto

SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
TP_STATUS_CSUMNOTREADY = 1 << 3
"""Source: linux/socket.h, linux/if_packet.h."""

_AUXDATA = struct.Struct("=IIIHHHH")
"""struct tpacket_auxdata: its first word is the status."""

_HEAD = 64
"""Octets that are read of a packet: more than where the protocol stands."""

_ETHERNET = 14
_SUMMED = (IpProto.TCP, IpProto.UDP)
"""What a card computes checksums for."""


class Watch:
    """Reads what comes in by one device of this network namespace. It never waits.

    Raises:
        OSError: there is no such device, or we may not.
    """

    def __init__(self, device: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK)  # it gets nothing yet
        try:
            for option in (PACKET_AUXDATA, PACKET_IGNORE_OUTGOING):
                self._socket.setsockopt(SOL_PACKET, option, 1)
            self._socket.bind((device, _ETH_P_ALL))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def complete(self) -> bool | None:
        """Whether the next packet of TCP or UDP has its checksum; None: no such packet is there.

        Raises:
            OSError: the device went away.
        """
        while True:
            try:
                packet, notes, _, _ = self._socket.recvmsg(_HEAD, socket.CMSG_SPACE(_AUXDATA.size))
            except BlockingIOError:
                return None
            status = next((_AUXDATA.unpack_from(data)[0] for *_, data in notes if len(data) >= _AUXDATA.size), 0)
            if _protocol(packet) in _SUMMED:
                return not status & TP_STATUS_CSUMNOTREADY


_ETH_P_ALL = 3
"""Source: linux/if_ether.h."""


def _protocol(packet: bytes) -> int | None:
    """What IP carries; fragments and extension headers are not looked behind."""
    if len(packet) < _HEAD - 22:  # the shortest packet of UDP
        return None
    match int.from_bytes(packet[12:14], "big"):
        case EthType.IPV4:
            return packet[_ETHERNET + 9]
        case EthType.IPV6:
            return packet[_ETHERNET + 6]
        case _:
            return None
