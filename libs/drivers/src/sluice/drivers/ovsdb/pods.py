"""The external_ids of an Interface that say which Pod the port belongs to; there are four.

Whoever plugs a Pod in (the lab, the CNI plugin) writes them in the transaction that adds the port. They are node-ovs's
only source about the ports of Pods.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from re import compile as pattern
from typing import NamedTuple

from sluice.contracts.ids import Address, Uid

POD = "sluice.pod"
UID = "sluice.uid"
MAC = "sluice.mac"
IPS = "sluice.ips"

_MAC = pattern("[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class BadPodIds(ValueError):
    """The external_ids of a Pod's port are incomplete or malformed: the port stays closed."""


class PodIds(NamedTuple):
    pod: str
    """namespace/name"""

    uid: Uid
    mac: str
    """Six octets in lower-case hexadecimal with colons."""

    addresses: tuple[Address, ...]
    """Canonical and sorted; comma-separated in the database. Empty if the Pod has none yet."""


def to_external_ids(ids: PodIds) -> dict[str, str]:
    return {POD: ids.pod, UID: ids.uid, MAC: ids.mac, IPS: ",".join(sorted(ids.addresses))}


def from_external_ids(interface: str, external_ids: Mapping[str, str]) -> PodIds | None:
    """The Pod that the port belongs to, or None if it is not a Pod's port (it has no `sluice.uid`).

    Raises:
        BadPodIds: something is missing or malformed.
    """
    if UID not in external_ids:
        return None
    where = f"interface {interface}: external_ids"
    missing = [name for name in (POD, MAC, IPS) if name not in external_ids]
    if missing:
        raise BadPodIds(f"{where}: {', '.join(missing)} is missing: write all four when the port is added")
    mac = external_ids[MAC].lower()
    if not _MAC.fullmatch(mac):
        raise BadPodIds(f"{where}: {MAC}={external_ids[MAC]!r} is no MAC address: write it as 02:00:00:00:00:01")
    try:
        addresses = {Address(str(ip_address(text))) for text in external_ids[IPS].split(",") if text}
    except ValueError as error:
        raise BadPodIds(f"{where}: {IPS}: {error}: write plain addresses, separated by commas") from error
    return PodIds(external_ids[POD], Uid(external_ids[UID]), mac, tuple(sorted(addresses)))
