"""The switch ports that TrafficControls need, and their state. Pure; the shell creates them.

TrafficControls that need the same port share it. The name of a tunnel is derived from all its parameters, so tunnels
that differ in anything are different ports. If two TrafficControls want different ports under one name, the first in
order wins.
"""

from collections.abc import Mapping
from hashlib import sha1
from ipaddress import ip_address
from typing import Literal, NamedTuple, assert_never

from sluice.contracts.traffic_control import ErspanTunnel, GreTunnel, NamedDevice, TrafficPort, UdpTunnel
from sluice.dataplane.ovs.ports import MAX_PORT

INTERNAL, DEVICE = "internal", ""
"""Types of interfaces. Source: ovs-vswitchd.conf.db(5), Interface, `type`."""

Owner = Literal["ours", "somebody", "pod", "role", "bridge"]
"""Who owns a port: we created it; somebody else did; it is a Pod's; it has a role; it is on another bridge."""


class Wish(NamedTuple):
    """A port that should exist."""

    name: str
    type: str
    options: tuple[tuple[str, str], ...] = ()

    @property
    def words(self) -> str:
        match self.type:
            case "internal":
                return f"ovsInternal {self.name}"
            case "":
                return f"device {self.name}"
            case tunnel:
                return f"{tunnel} to {dict(self.options)['remote_ip']}"


class Found(NamedTuple):
    """An interface that exists."""

    name: str
    type: str
    owner: Owner
    ofport: int | None = None
    """Unset: the switch has not opened it."""

    error: str | None = None
    said: str = ""
    """The owner in words: the Pod, the role, the bridge."""

    gone: bool = False
    """The device that it was opened for no longer exists, but another one with its name may."""


class Ready(NamedTuple):
    ofport: int


class Waiting(NamedTuple):
    """It is being created."""


class Broken(NamedTuple):
    """It cannot be used, and why."""

    reason: str


State = Ready | Waiting | Broken


def wish(port: TrafficPort) -> Wish:
    """The port that is asked for, with its name in the switch."""
    given = (port.ovs_internal, port.device, port.geneve, port.vxlan, port.gre, port.erspan)
    kinds = (INTERNAL, DEVICE, "geneve", "vxlan", "gre", "erspan")
    ((kind, one),) = [(kind, one) for kind, one in zip(kinds, given, strict=True) if one is not None]
    if isinstance(one, NamedDevice):
        return Wish(one.name, kind)
    options = tuple(sorted(_options(kind, one).items()))
    digest = sha1(repr((kind, options)).encode(), usedforsecurity=False).hexdigest()[:8]
    return Wish(f"{kind}-{digest}", kind, options)  # at most 15 characters


def state(
    wanted: Wish, found: Found | None, refused: str | None, *, returns: bool = False, taken_by: Wish | None = None
) -> State:
    """The state of the port that is wished for.

    Args:
        refused: why the shell could not create it.
        returns: it is a return port.
        taken_by: another wish for the name, which counts instead.
    """
    if taken_by is not None:
        return Broken(
            f"another TrafficControl, which takes precedence, uses the name {wanted.name} for {taken_by.words}; "
            "choose another name"
        )
    if found is None or (found.owner == "ours" and found.type != wanted.type):
        return Waiting() if refused is None else Broken(refused)
    if (reason := _claim(wanted, found, returns=returns)) is not None:
        return Broken(reason)
    if found.gone:
        return Broken(f"{wanted.words}: the device is gone; create it again, or choose another")
    if found.error:
        return Broken(f"{wanted.words}: {found.error}")
    return Ready(found.ofport) if found.ofport is not None else Waiting()


def _claim(wanted: Wish, found: Found, *, returns: bool) -> str | None:
    """Why the existing port cannot be used; None if it can."""
    name = wanted.name
    match found.owner:
        case "bridge":
            return f"{name} is a port of {found.said}; remove it from there, or choose another"
        case "role":
            return f"{name} is a port of the node itself ({found.said}); choose another"
        case "pod" if returns:
            return (
                f"{name} is the port of Pod {found.said}, so redirected traffic cannot come back through it; choose "
                "another"
            )
        case "ours" | "somebody" | "pod":
            pass
        case _:
            assert_never(found.owner)
    if found.type != wanted.type or (wanted.options and found.owner != "ours"):
        kind = found.type or "device"
        return f"{name} is taken by a port of type {kind}; remove that port, or choose another name"
    if found.ofport is not None and found.ofport > MAX_PORT:
        return f"{name} is the bridge itself; choose another"
    return None


def removable(found: Mapping[str, Found], wishes: Mapping[str, Wish]) -> frozenset[str]:
    """Names of ports that we created and that nobody needs, or not of this type, or whose device is gone."""
    return frozenset(
        name
        for name, one in found.items()
        if one.owner == "ours" and (name not in wishes or wishes[name].type != one.type or one.gone)
    )


def missing(found: Mapping[str, Found], wishes: Mapping[str, Wish]) -> tuple[Wish, ...]:
    """Ports to create, sorted."""
    return tuple(sorted(one for name, one in wishes.items() if name not in found))


def _options(kind: str, tunnel: UdpTunnel | GreTunnel | ErspanTunnel) -> dict[str, str]:
    """The tunnel's options, "Tunnel Options" in ovs-vswitchd.conf.db(5).

    Source: lib/netdev-vport.c, which reads erspan_idx and erspan_hwid as hexadecimal.
    """
    options = {"remote_ip": str(ip_address(tunnel.remote_ip))}
    numbers: dict[str, int | None]
    match tunnel:
        case UdpTunnel():
            default = {"geneve": 6081, "vxlan": 4789}[kind]
            other = tunnel.destination_port not in (None, default)
            numbers = {"key": tunnel.vni, "dst_port": tunnel.destination_port if other else None}
        case GreTunnel():
            numbers = {"key": tunnel.key}
        case ErspanTunnel():
            numbers = {
                "key": tunnel.session_id,
                "erspan_ver": tunnel.version,
                "erspan_dir": tunnel.dir if tunnel.version == 2 else None,
            }
            for name, number, version in (("idx", tunnel.index, 1), ("hwid", tunnel.hardware_id, 2)):
                if tunnel.version == version and number is not None:
                    options[f"erspan_{name}"] = f"{number:x}"
        case _:
            assert_never(tunnel)
    return options | {name: str(number) for name, number in numbers.items() if number is not None}
