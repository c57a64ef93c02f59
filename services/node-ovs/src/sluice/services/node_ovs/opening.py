"""Which Pods' ports may be open: those that both the cluster and the switch know, with the addresses both give them."""

from collections.abc import Iterable, Mapping

import msgspec

from sluice.contracts.groups import Member
from sluice.contracts.ids import Uid
from sluice.dataplane.ovs.ports import LocalPort


def openable(pods: Iterable[Member], ports: Mapping[Uid, LocalPort]) -> dict[Uid, LocalPort]:
    """The ports to open, by uid, each with the addresses that OVSDB and the Pod object agree on.

    A Pod of whose addresses the two agree on none stays closed: nobody's policies would know its packets.
    """
    found = {}
    for pod in pods:
        port = ports.get(pod.uid)
        if port is None:
            continue
        agreed = tuple(address for address in port.addresses if address in pod.addresses)
        if agreed:
            found[pod.uid] = msgspec.structs.replace(port, addresses=agreed)
    return found
