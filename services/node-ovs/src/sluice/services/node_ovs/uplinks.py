"""Converts OVSDB rows to the ports that lead to other nodes and to this node's network stack."""

from collections.abc import Iterable

from sluice.dataplane.ovs.detour import EnginePorts
from sluice.dataplane.ovs.ports import BadPort
from sluice.dataplane.ovs.route_flows import Gateway, Uplinks
from sluice.drivers.ovsdb.roles import L7_IN, L7_OUT, ROLE, TUNNEL, BadRole, GatewayIds, role
from sluice.drivers.ovsdb.rows import Interface


def uplinks(interfaces: Iterable[Interface]) -> tuple[Uplinks, tuple[str, ...]]:
    """The usable uplinks, and why others are not usable. Of two with the same role the higher port number wins."""
    tunnel, gateway = None, None
    errors = []
    for interface in sorted(interfaces, key=lambda one: one.ofport or 0):
        try:
            match role(interface.name, interface.external_ids):
                case _ if interface.ofport is None:
                    pass  # not there yet, or it cannot be opened
                case GatewayIds(mac, addresses):
                    gateway = Gateway(interface.ofport, mac, addresses)
                case str(name) if name == TUNNEL:
                    tunnel = interface.ofport
                case _:
                    pass
        except (BadRole, BadPort) as error:
            errors.append(str(error))
    return Uplinks(tunnel, gateway), tuple(errors)


def engine_ports(interfaces: Iterable[Interface]) -> EnginePorts | None:
    """The two ports that the inspection engine sits between, if both are there."""
    found = {one.external_ids.get(ROLE): one.ofport for one in interfaces if one.ofport is not None}
    into, out = found.get(L7_IN), found.get(L7_OUT)
    return None if into is None or out is None else EnginePorts(into, out)
