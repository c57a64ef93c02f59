"""The switch ports of this machine according to devlink: which function of which card each one represents.

pyroute2 lists ports too, but knows neither controllers nor subfunctions. Source: Linux include/uapi/linux/devlink.h,
genetlink.h; Documentation/networking/devlink/devlink-port.rst.
"""

import errno
import struct
from enum import IntEnum
from typing import NamedTuple

from sluice.drivers.tc.attributes import U16, U32, by_kind, string
from sluice.drivers.tc.netlink import Message, Netlink

GENERIC, CONTROL = 16, 0x10
"""NETLINK_GENERIC, and the control family, which resolves the ids of the others."""

HEAD = struct.Struct("=BBxx")
"""struct genlmsghdr: command, version."""

GET_FAMILY, FAMILY_ID, FAMILY_NAME = 3, 1, 2
PORT_GET, VERSION = 5, 1
BUS, DEVICE, NETDEV, FLAVOUR, PF, VF, CONTROLLER, SF = 1, 2, 7, 77, 127, 128, 150, 164
"""Source: enums devlink_command and devlink_attr."""


class Flavour(IntEnum):
    """Source: enum devlink_port_flavour."""

    PHYSICAL = 0
    PCI_PF = 3
    PCI_VF = 4
    PCI_SF = 7


class Port(NamedTuple):
    device: str
    """Of the switch: "pci/0000:03:00.0"."""

    flavour: int
    netdev: str
    """Name of its netdev on this host; empty if it has none."""

    controller: int = 0
    """0 is this host; others are further hosts that the card serves."""

    pf: int | None = None
    vf: int | None = None
    sf: int | None = None


def ports() -> tuple[Port, ...]:
    """All ports of all switches; empty if the kernel has no devlink.

    Raises:
        NetlinkLost
    """
    netlink = Netlink(GENERIC)
    try:
        family = _family(netlink, "devlink")
        if family is None:
            return ()
        asked = Message(family, 0, HEAD.pack(PORT_GET, VERSION))
        try:
            return tuple(read_port(message) for message in netlink.dump(asked))
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            return ()
    finally:
        netlink.close()


def _family(netlink: Netlink, name: str) -> int | None:
    for message in netlink.dump(Message(CONTROL, 0, HEAD.pack(GET_FAMILY, VERSION))):
        found = by_kind(message.body[HEAD.size :])
        if string(found[FAMILY_NAME]) == name:
            return int(U16.unpack(found[FAMILY_ID])[0])
    return None


def read_port(message: Message) -> Port:
    """The port in one message of the dump.

    Raises:
        NotAttributes, KeyError: it is not a port.
    """
    found = by_kind(message.body[HEAD.size :])

    def number(kind: int, form: struct.Struct) -> int | None:
        return form.unpack(found[kind])[0] if kind in found else None

    flavour = number(FLAVOUR, U16)
    return Port(
        device=f"{string(found[BUS])}/{string(found[DEVICE])}",
        flavour=-1 if flavour is None else flavour,
        netdev=string(found.get(NETDEV, b"")),
        controller=number(CONTROLLER, U32) or 0,
        pf=number(PF, U16),
        vf=number(VF, U16),
        sf=number(SF, U32),
    )
