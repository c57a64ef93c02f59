"""Which Pods' ports may be open: those that both the cluster and the switch know, with the addresses both give them."""

from collections.abc import Iterable, Mapping

import msgspec

from sluice.contracts.groups import Member
from sluice.contracts.ids import Uid
from sluice.dataplane.ovs.ports import LocalPort


def openable(pods: Iterable[Member], ports: Mapping[Uid, LocalPort], *, unknown: bool = False) -> dict[Uid, LocalPort]:
    """The ports to open, by uid, each with the addresses that OVSDB and the Pod object agree on.

    A Pod of whose addresses the two agree on none stays closed: nobody's policies would know its packets.

    Args:
        unknown: those of Pods that only the switch knows are opened as well, with the addresses that it says.
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
