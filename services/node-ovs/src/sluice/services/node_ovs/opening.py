"""Which Pods' ports may be open: those known to both the cluster and the switch, with the addresses both agree on."""

from collections.abc import Iterable, Mapping

import msgspec

from sluice.contracts.groups import Member
from sluice.contracts.ids import Uid
from sluice.dataplane.ovs.ports import LocalPort


def openable(pods: Iterable[Member], ports: Mapping[Uid, LocalPort], *, unknown: bool = False) -> dict[Uid, LocalPort]:
    """The ports to open, by uid, each with the addresses on which OVSDB and the Pod object agree.

    A Pod with no such address stays closed: no policy would match its packets.

    Args:
        unknown: also open ports of Pods that only the switch knows, with the addresses in OVSDB.
    """
    pods = tuple(pods)
    known = {pod.uid for pod in pods}
    found = {uid: port for uid, port in ports.items() if unknown and uid not in known and port.addresses}
    for pod in pods:
        port = ports.get(pod.uid)
        if port is None:
            continue
        agreed = tuple(address for address in port.addresses if address in pod.addresses)
        if agreed:
            found[pod.uid] = msgspec.structs.replace(port, addresses=agreed)
    return found
