"""Which interface of the host is whose: what the pages report of a Pod's interface, and what the machine says of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from sluice.contracts.groups import Member
from sluice.contracts.ids import Uid
from sluice.dataplane.tc.engine import InterfaceKey
from sluice.drivers.tc import devlink
from sluice.drivers.tc.errors import NetlinkLost
from sluice.drivers.tc.representors import Device as Reported
from sluice.drivers.tc.representors import NoRepresentor, Representors
from sluice.services.node_tc.keeper import Device


class Found(NamedTuple):
    devices: dict[InterfaceKey, Device]
    closed: dict[InterfaceKey, Device]
    """Devices of which nobody can say whose they are, each under a key of its own."""

    errors: dict[InterfaceKey, str]
    """Why an interface cannot be policed: where, what, why, and what to do."""

    waiting: frozenset[InterfaceKey]
    """Not attached yet: the plugin has still to report them."""


def find(members: Mapping[InterfaceKey, Member], plugins: frozenset[str], sysfs: Path, *, direct: bool) -> Found:
    """The devices of these interfaces. Of two that claim one device neither has it, and it is closed."""
    representors = Representors(sysfs, _ports(), direct=direct)
    found = Found({}, {}, {}, frozenset(key for key, member in members.items() if not member.attachment.attached))
    for key, member in sorted(members.items()):
        attachment = member.attachment
        if key in found.waiting:
            continue
        if attachment.plugin and attachment.plugin not in plugins:
            found.errors[key] = _say(
                member,
                f"plugin {attachment.plugin} is none of SLUICE_NODE_TC_NETWORK_PLUGINS, so nothing is enforced here",
            )
            continue
        try:
            name = representors.find(Reported(attachment.pci, attachment.representor))
            found.devices[key] = Device(name, _ifindex(sysfs, name))
        except (NoRepresentor, OSError) as error:
            found.errors[key] = _say(member, str(error))
    _refuse_shared(found, members)
    return found


def _refuse_shared(found: Found, members: Mapping[InterfaceKey, Member]) -> None:
    claims: dict[str, list[InterfaceKey]] = {}
    for key, device in found.devices.items():
        claims.setdefault(device.name, []).append(key)
    for name, keys in claims.items():
        if len(keys) > 1:
            pods = " and ".join(members[key].pod for key in keys)
            found.closed[InterfaceKey(Uid(""), "", name)] = found.devices[keys[0]]
            for key in keys:
                del found.devices[key]
                found.errors[key] = _say(
                    members[key], f"{name} is said to be of {pods}; delete the Pod that is not there"
                )


def _say(member: Member, reason: str) -> str:
    attachment = member.attachment
    return f"Pod {member.pod}, {attachment.interface} on {attachment.network}: {reason}"


def _ifindex(sysfs: Path, name: str) -> int:
    return int((sysfs / "class/net" / name / "ifindex").read_text())


def _ports() -> tuple[devlink.Port, ...]:
    try:
        return devlink.ports()
    except NetlinkLost:
        return ()  # sysfs says the same of most cards
