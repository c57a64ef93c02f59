"""Finds the host device of each Pod interface, from the pages' reports and from what the machine says."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sluice.contracts.groups import Member
from sluice.contracts.ids import Uid
from sluice.dataplane.tc.engine import InterfaceKey, key_of
from sluice.drivers.tc import devlink
from sluice.drivers.tc.errors import NetlinkLost
from sluice.drivers.tc.representors import Device as Reported
from sluice.drivers.tc.representors import NoRepresentor, Representors
from sluice.services.node_tc.keeper import Device


class Found(NamedTuple):
    devices: dict[InterfaceKey, Device]
    closed: dict[InterfaceKey, Device]
    """Devices that no Pod has, or whose owner is disputed, each under a key of its own."""

    errors: dict[InterfaceKey, str]
    """Why an interface cannot be policed or found: where, what, why, and what to do."""

    waiting: frozenset[InterfaceKey]
    """Interfaces that are not attached yet: the CNI plugin has not reported them."""


def find(
    members: Mapping[InterfaceKey, Member],
    plugins: frozenset[str],
    sysfs: Path,
    *,
    direct: bool,
    claims: Iterable[Member] | None = None,
) -> Found:
    """Return the devices of these interfaces, and the devices to close.

    If two interfaces claim the same device, neither gets it, and it is closed.

    Args:
        members: interfaces that policies apply to.
        plugins: types of CNI plugins whose interfaces are ours to police.
        claims: all interfaces of the node's Pods. Representors that none of them has are closed, so that the next
            interface to get one finds it closed. None: the claims are unknown, and idle representors stay as they are.
    """
    representors = Representors(sysfs, _ports(), direct=direct)
    all_ = {**{key_of(one): one for one in claims or ()}, **members}
    found = Found({}, {}, {}, frozenset(key for key, member in members.items() if not member.attachment.attached))
    others: set[str] = set()
    for key, member in sorted(all_.items()):
        attachment = member.attachment
        if not attachment.attached:
            continue
        ours = not attachment.plugin or attachment.plugin in plugins
        if not ours and key in members:
            found.errors[key] = _say(
                member,
                f"plugin {attachment.plugin} is not in SLUICE_NODE_TC_NETWORK_PLUGINS, so no policy is enforced here",
            )
        try:
            name = representors.find(Reported(attachment.pci, attachment.representor))
            if ours:
                found.devices[key] = Device(name, _ifindex(sysfs, name))
            else:
                others.add(name)
        except (NoRepresentor, OSError) as error:
            if ours and (key in members or attachment.plugin or attachment.pci or attachment.representor):
                found.errors[key] = _say(member, str(error))
    taken = others | {device.name for device in found.devices.values()}
    _refuse_shared(found, all_)
    for key in found.devices.keys() - members.keys():
        del found.devices[key]
    if claims is not None:
        _close_idle(found, sysfs, [name for name in representors.lent() if name not in taken])
    return found


def _close_idle(found: Found, sysfs: Path, idle: Iterable[str]) -> None:
    for name in idle:
        with suppress(OSError, ValueError):  # it disappeared meanwhile; the kernel reports that
            found.closed[_nobodys(name)] = Device(name, _ifindex(sysfs, name))


def _refuse_shared(found: Found, members: Mapping[InterfaceKey, Member]) -> None:
    claims: dict[str, list[InterfaceKey]] = {}
    for key, device in found.devices.items():
        claims.setdefault(device.name, []).append(key)
    for name, keys in claims.items():
        if len(keys) > 1:
            pods = " and ".join(members[key].pod for key in keys)
            found.closed[_nobodys(name)] = found.devices[keys[0]]
            for key in keys:
                del found.devices[key]
                found.errors[key] = _say(
                    members[key], f"{name} is claimed by {pods}; delete the Pod that no longer exists"
                )


def _nobodys(name: str) -> InterfaceKey:
    return InterfaceKey(Uid(""), "", name)


def _say(member: Member, reason: str) -> str:
    attachment = member.attachment
    return f"Pod {member.pod}, {attachment.interface} on {attachment.network}: {reason}"


def _ifindex(sysfs: Path, name: str) -> int:
    return int((sysfs / "class/net" / name / "ifindex").read_text())


def _ports() -> tuple[devlink.Port, ...]:
    try:
        return devlink.ports()
    except NetlinkLost:
        return ()  # sysfs has the same information for most cards
