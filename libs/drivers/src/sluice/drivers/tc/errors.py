"""Errors of the kernel, in words: the error number and the kernel's explanation (extended acks).

Source: netlink(7), Linux include/uapi/linux/netlink.h, enum nlmsgerr_attrs.
"""

import errno
import os
import struct

from sluice.drivers.tc.attributes import U32, NotAttributes, by_kind, string

CAPPED = 0x100
ACK_TLVS = 0x200
"""Flag of an error message: it repeats only the header of the request, and attributes follow."""

_CODE = struct.Struct("=i")
_REQUEST_HEAD_SIZE = 16
_MESSAGE, _OFFSET = 1, 2


class Refused(Exception):
    """The kernel refused a request."""

    def __init__(self, what: str, code: int, says: str = "") -> None:
        reason = f"{errno.errorcode.get(code, code)} ({os.strerror(code)})"
        super().__init__(f"{what}: the kernel refused: {reason}{f': {says}' if says else ''}")
        self.code = code
        self.says = says


class NoSuchDevice(Refused):
    """The interface does not exist (any more), or has no clsact qdisc."""


class NetlinkLost(ConnectionError):
    """The kernel's answers do not arrive. Whether a change was made is unknown: read back."""


class KernelTooOld(Exception):
    """The kernel lacks something without which policy cannot be enforced."""


class Answer:
    """A decoded error message of the kernel; code 0 is an acknowledgement."""

    def __init__(self, body: bytes, flags: int) -> None:
        (code,) = _CODE.unpack_from(body)
        self.code = -code
        self.says = ""
        self.offset: int | None = None
        """Offset of the offending attribute in the request."""

        if flags & ACK_TLVS:
            length = _REQUEST_HEAD_SIZE
            if not flags & CAPPED and self.code:
                (length,) = U32.unpack_from(body, _CODE.size)
            try:
                found = by_kind(body[_CODE.size + (length + 3 & ~3) :])
            except NotAttributes:
                return  # the error number is enough
            self.says = string(found.get(_MESSAGE, b""))
            if _OFFSET in found:
                (self.offset,) = U32.unpack_from(found[_OFFSET])
