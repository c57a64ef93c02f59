"""Converts OVSDB rows to ports of Pods."""

from collections.abc import Iterable

from sluice.contracts.ids import Uid
from sluice.dataplane.ovs.ports import BadPort, LocalPort
from sluice.drivers.ovsdb.pods import BadPodIds, from_external_ids
from sluice.drivers.ovsdb.rows import Interface


def pod_ports(interfaces: Iterable[Interface]) -> tuple[dict[Uid, LocalPort], tuple[str, ...]]:
    """The usable ports by Pod uid, and why others are not usable. Interfaces that are not of Pods are ignored.

    Of two ports that claim the same Pod the higher OpenFlow port number wins: it was plugged in later.
    """
    found: dict[Uid, LocalPort] = {}
    errors = []
    for interface in sorted(interfaces, key=lambda one: one.ofport or 0):
        try:
            ids = from_external_ids(interface.name, interface.external_ids)
            if ids is None or interface.ofport is None:
                continue  # not a Pod's port, or not there yet
            port = LocalPort(pod=ids.pod, uid=ids.uid, ofport=interface.ofport, mac=ids.mac, addresses=ids.addresses)
        except (BadPodIds, BadPort) as error:
            errors.append(str(error))
            continue
        if ids.uid in found:
            errors.append(
                f"interface {interface.name}: Pod {ids.pod} also has port {found[ids.uid].ofport}, which stays "
                "closed; remove one of the two"
            )
        found[ids.uid] = port
    return found, tuple(errors)
