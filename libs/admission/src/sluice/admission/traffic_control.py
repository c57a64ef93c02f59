"""TrafficControl of crd.antrea.io/v1alpha2, by itself. Antrea validates none of this beyond the schema.

Sources: Antrea, docs "Traffic Control With Antrea"; Linux, net/core/dev.c (dev_valid_name); Open vSwitch,
ovs-vswitchd.conf.db(5), "Tunnel Options"; RFC 7348 and RFC 8926 (VNI, 24 bits), RFC 2890 (GRE key, 32 bits),
draft-foschiano-erspan (session id 10 bits, index 20, hardware id 6).
"""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import get_args

from sluice.admission import addresses, label_selector
from sluice.admission.network_policy import PORTS
from sluice.admission.refusal import Caution, Refusal
from sluice.contracts import jsonpath
from sluice.contracts.objects import TrafficControl
from sluice.contracts.traffic_control import ErspanTunnel, GreTunnel, NamedDevice, TrafficPort, UdpTunnel
from sluice.contracts.traffic_programs import WHEN_GONE, WhenGone

VNIS = range(1 << 24)
GRE_KEYS = range(1 << 32)
SESSIONS = range(1 << 10)
INDEXES = range(1 << 20)
DIRECTIONS = range(2)
HARDWARE = range(1 << 6)
VERSIONS = range(1, 3)

MAX_DEVICE_NAME = 15
"""Bytes in the name of a Linux interface (IFNAMSIZ less the terminating NUL)."""

_KINDS = ("ovsInternal", "device", "geneve", "vxlan", "gre", "erspan")
_TARGET, _RETURN = "$.spec.targetPort", "$.spec.returnPort"


def refusals(control: TrafficControl) -> Iterator[Refusal]:
    spec = control.spec
    for name, selector in (
        ("podSelector", spec.applied_to.pod_selector),
        ("namespaceSelector", spec.applied_to.namespace_selector),
    ):
        if selector is not None:
            yield from label_selector.refusals(selector, f"$.spec.appliedTo.{name}")
    yield from _of_port(spec.target_port, _TARGET, _KINDS)
    if spec.action == "Redirect" and spec.target_port.erspan is not None:
        reason = "erspan carries only copies, but the action is Redirect; use another kind of port, or action: Mirror"
        yield Refusal(f"{_TARGET}.erspan", reason)
    match spec.action, spec.return_port:
        case "Redirect", None:
            reason = "missing, so redirected traffic would never come back; give the port where it comes back"
            yield Refusal(_RETURN, reason)
        case "Mirror", TrafficPort():
            yield Refusal(_RETURN, "nothing comes back from a Mirror; remove it, or write action: Redirect")
        case _:
            pass
    yield from _when_gone(control)
    if spec.return_port is not None:
        if spec.return_port.erspan is not None:
            reason = "erspan carries only copies, so nothing comes back from it; use another kind of port"
            yield Refusal(f"{_RETURN}.erspan", reason)
        yield from _of_port(spec.return_port, _RETURN, _KINDS[:-1])


def _when_gone(control: TrafficControl) -> Iterator[Refusal]:
    written = control.metadata.annotations.get(WHEN_GONE)
    if written is None:
        return
    here = jsonpath.field("$.metadata.annotations", WHEN_GONE)
    if written not in get_args(WhenGone):
        reason = (
            f'"{written}" is neither drop nor pass, which say what happens to redirected packets while a port is '
            "missing; write one of them"
        )
        yield Refusal(here, reason)
    elif control.spec.action == "Mirror":
        yield Refusal(
            here,
            "a Mirror only copies packets, so there is nothing to drop or pass; remove it, or write action: Redirect",
        )


def cautions(control: TrafficControl) -> Iterator[Caution]:
    chosen = control.spec.applied_to
    if chosen.pod_selector is None and chosen.namespace_selector is None:
        reason = (
            "an empty appliedTo selects nothing, so the TrafficControl has no effect; write podSelector: {} for "
            "every Pod"
        )
        yield Caution("$.spec.appliedTo", reason)


def device_name(text: str) -> str | None:
    """What is wrong with the name of a network interface, or None."""
    plain = text.isascii() and text.isprintable() and not set(text) & set("/: ")
    if plain and 1 <= len(text) <= MAX_DEVICE_NAME and text not in (".", ".."):
        return None
    return (
        f'"{text}" cannot be the name of a network interface; use 1 to {MAX_DEVICE_NAME} characters, '
        "none of them a space, / or :"
    )


def _of_port(port: TrafficPort, path: str, kinds: tuple[str, ...]) -> Iterator[Refusal]:
    parts = (port.ovs_internal, port.device, port.geneve, port.vxlan, port.gre, port.erspan)
    given = [(name, part) for name, part in zip(_KINDS, parts, strict=True) if part is not None]
    if len(given) != 1:
        what = f"names {len(given)} ports ({', '.join(name for name, _ in given)})" if given else "names no port"
        yield Refusal(path, f"{what}; give exactly one of {', '.join(kinds)}")
    for name, part in given:
        here = f"{path}.{name}"
        match part:
            case NamedDevice():
                if bad := device_name(part.name):
                    yield Refusal(f"{here}.name", bad)
            case UdpTunnel():
                yield from _of_remote(part.remote_ip, here)
                yield from _in_range("vni", part.vni, VNIS, here)
                yield from _in_range("destinationPort", part.destination_port, PORTS, here)
            case GreTunnel():
                yield from _of_remote(part.remote_ip, here)
                yield from _in_range("key", part.key, GRE_KEYS, here)
            case ErspanTunnel():
                yield from _of_erspan(part, here)


def _of_erspan(tunnel: ErspanTunnel, path: str) -> Iterator[Refusal]:
    yield from _of_remote(tunnel.remote_ip, path)
    yield from _in_range("sessionID", tunnel.session_id, SESSIONS, path)
    yield from _in_range("version", tunnel.version, VERSIONS, path)
    of_version = (
        (1, "index", tunnel.index, INDEXES),
        (2, "dir", tunnel.dir, DIRECTIONS),
        (2, "hardwareID", tunnel.hardware_id, HARDWARE),
    )
    for version, name, number, numbers in of_version:
        if number is not None and tunnel.version in VERSIONS and tunnel.version != version:
            reason = f"does not exist in ERSPAN version {tunnel.version}; remove it, or write version: {version}"
            yield Refusal(f"{path}.{name}", reason)
        else:
            yield from _in_range(name, number, numbers, path)


def _of_remote(text: str, path: str) -> Iterator[Refusal]:
    here = f"{path}.remoteIP"
    if bad := addresses.address(text):
        yield Refusal(here, bad)
        return
    remote = ip_address(text)
    if remote.is_multicast or remote.is_unspecified:
        yield Refusal(here, f'"{text}" is not the address of a host; give the address at which the tunnel ends')


def _in_range(name: str, number: int | None, numbers: range, path: str) -> Iterator[Refusal]:
    if number is not None and number not in numbers:
        reason = f"{number} is out of range; give one of {numbers[0]} to {numbers[-1]}"
        yield Refusal(f"{path}.{name}", reason)
