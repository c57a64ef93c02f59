"""Whether packets received by a device carry their checksums: a sender may leave them to a NIC that is never reached.

The kernel reports this for each packet read from a device. A veth pair passes such packets on as they are, and a
userspace switch forwards what it reads; the receiver then drops them.
"""

import socket
import struct

from sluice.dataplane.protocols import EthType, IpProto

SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
TP_STATUS_CSUMNOTREADY = 1 << 3
"""Source: linux/socket.h, linux/if_packet.h."""

_AUXDATA = struct.Struct("=IIIHHHH")
"""struct tpacket_auxdata; its first word is the status."""

_HEAD = 64
"""Octets read of each packet; enough to reach the protocol."""

_ETHERNET = 14
_SUMMED = (IpProto.TCP, IpProto.UDP)
"""The protocols that a NIC computes checksums for."""


class Watch:
    """Reads the packets received by one device of this network namespace. Never blocks.

    Raises:
        OSError: there is no such device, or permission is missing.
    """

    def __init__(self, device: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK)  # receives nothing yet
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
        """Whether the next TCP or UDP packet has its checksum; None if there is no such packet yet.

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
    """The protocol in the IP header; fragments and extension headers are not followed."""
    if len(packet) < _HEAD - 22:  # the shortest UDP packet
        return None
    match int.from_bytes(packet[12:14], "big"):
        case EthType.IPV4:
            return packet[_ETHERNET + 9]
        case EthType.IPV6:
            return packet[_ETHERNET + 6]
        case _:
            return None
