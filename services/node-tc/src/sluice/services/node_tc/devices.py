"""Which interface of the host is whose: what the pages report of a Pod's interface, and what the machine says of it."""

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
    """Devices that nobody has, or of which nobody can say whose they are, each under a key of its own."""

    errors: dict[InterfaceKey, str]
    """Why an interface cannot be policed, or not be found: where, what, why, and what to do."""

    waiting: frozenset[InterfaceKey]
    """Not attached yet: the plugin has still to report them."""


def find(
    members: Mapping[InterfaceKey, Member],
    plugins: frozenset[str],
    sysfs: Path,
    *,
    direct: bool,
    claims: Iterable[Member] | None = None,
) -> Found:
    """The devices of these interfaces, and those to be closed.

    Args:
        members: interfaces that policies are about.
        plugins: types of CNI plugins whose interfaces are ours to police.
        claims: all interfaces of the node's Pods. Representors that none of them has are closed, so that the next to
            have one finds it closed; None: it is not told who has which, and none is closed for being idle.

    Of two that claim one device neither has it, and it is closed.
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
                f"plugin {attachment.plugin} is none of SLUICE_NODE_TC_NETWORK_PLUGINS, so nothing is enforced here",
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
        with suppress(OSError, ValueError):  # it went while we looked, and the kernel tells of that
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
                    members[key], f"{name} is said to be of {pods}; delete the Pod that is not there"
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
        return ()  # sysfs says the same of most cards
