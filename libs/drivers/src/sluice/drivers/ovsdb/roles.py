"""Roles of ports that belong to no Pod: external_ids of their Interfaces, written by whoever sets the node up.

`sluice.role` is `tunnel` (the Geneve port to all other nodes), `gateway` (the node's network stack is behind it, with
`sluice.mac` and `sluice.ips`), or `l7-in` and `l7-out` (into the inspection engine and out of it). Roles and not types
decide, since a node may have Geneve ports to other endpoints as well.
"""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import NamedTuple

from sluice.contracts.ids import Address
from sluice.drivers.ovsdb.pods import IPS, MAC

ROLE = "sluice.role"
TUNNEL = "tunnel"
GATEWAY = "gateway"
L7_IN = "l7-in"
L7_OUT = "l7-out"
TRAFFIC = "traffic"
"""Ports for TrafficControls; node-ovs creates and removes them."""

IFINDEX = "sluice.ifindex"
"""The device that such a port was made for: the switch receives nothing from another device with the same name."""

TUNNEL_OPTIONS = {"remote_ip": "flow", "key": "flow"}
"""Each packet carries its own tunnel endpoint. Source: ovs-vswitchd.conf.db(5), Interface, "Tunnel Options"."""


class BadRole(ValueError):
    """The external_ids of a port with a role are incomplete or malformed: the port is not used."""


class GatewayIds(NamedTuple):
    mac: str
    addresses: tuple[Address, ...]


def gateway_ids(ids: GatewayIds) -> dict[str, str]:
    return {ROLE: GATEWAY, MAC: ids.mac, IPS: ",".join(ids.addresses)}


def tunnel_ids() -> dict[str, str]:
    return {ROLE: TUNNEL}


def role(interface: str, external_ids: Mapping[str, str]) -> GatewayIds | str | None:
    """TUNNEL, a gateway's ids, or None for a port without a role.

    Raises:
        BadRole: the role is unknown, or a gateway's addresses are malformed.
    """
    where = f"interface {interface}: external_ids"
    match external_ids.get(ROLE):
        case None:
            return None
        case "tunnel" | "l7-in" | "l7-out" | "traffic" as plain:
            return plain
        case "gateway":
            try:
                texts = [text for text in external_ids.get(IPS, "").split(",") if text]
                return GatewayIds(external_ids.get(MAC, "").lower(), tuple(Address(str(ip_address(t))) for t in texts))
            except ValueError as error:
                raise BadRole(f"{where}: {IPS}: {error}: write plain addresses, separated by commas") from error
        case other:
            roles = f"{TUNNEL}, {GATEWAY}, {L7_IN}, {L7_OUT}, {TRAFFIC}"
            raise BadRole(f"{where}: {ROLE}={other!r} is no role: write one of {roles}")
