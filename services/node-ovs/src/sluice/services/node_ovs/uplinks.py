"""From rows of OVSDB to the ports that lead to other nodes and to this one's network stack."""

from collections.abc import Iterable

from sluice.dataplane.ovs.ports import BadPort
from sluice.dataplane.ovs.routes import Gateway, Uplinks
from sluice.drivers.ovsdb.roles import TUNNEL, BadRole, GatewayIds, role
from sluice.drivers.ovsdb.rows import Interface


def uplinks(interfaces: Iterable[Interface]) -> tuple[Uplinks, tuple[str, ...]]:
    """The uplinks that are usable, and why others are not. Of two with one role the higher OpenFlow number has it."""
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
