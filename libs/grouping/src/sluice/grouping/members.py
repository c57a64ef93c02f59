"""What a live Pod is to its groups."""

from sluice.contracts.groups import Member, NamedPort
from sluice.contracts.ids import Uid
from sluice.contracts.objects import Pod


def member_of(pod: Pod) -> Member:
    """The Pod as it stands on a page, with every address that it claims."""
    meta, addresses = pod.metadata, pod.addresses
    return Member(
        pod=f"{meta.namespace}/{meta.name}",
        uid=Uid(meta.uid),
        addresses=addresses if len(addresses) < 2 else tuple(dict.fromkeys(addresses)),
        ports=named_ports(pod),
    )


def named_ports(pod: Pod) -> tuple[NamedPort, ...]:
    """The container ports that have a name; sorted. Of two with one name and protocol the first counts.

    Source: Kubernetes, pkg/api/v1/pod/util.go, FindPort.
    """
    found: dict[tuple[str, str], NamedPort] = {}
    for container in pod.spec.containers:
        for port in container.ports:
            if port.name:
                named = NamedPort(name=port.name, protocol=port.protocol, port=port.container_port)
                found.setdefault((port.name, port.protocol), named)
    return tuple(sorted(found.values())) if found else ()
