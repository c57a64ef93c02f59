"""The interfaces of a Pod on secondary networks, from its request annotation and its status annotation."""

from collections.abc import Iterator
from contextlib import suppress

from sluice.contracts import networks
from sluice.contracts.groups import Attachment, Member
from sluice.contracts.ids import Uid
from sluice.contracts.networks import BadAnnotation, Report, Request
from sluice.contracts.objects import Pod
from sluice.grouping.members import named_ports


def interfaces_of(pod: Pod) -> tuple[Member, ...]:
    """The interfaces as members, sorted; what the network's definition says is not filled in yet.

    An interface that is requested but not reported yet has no addresses; policies select it nevertheless. An unreadable
    annotation counts as absent. The cluster's default network is left out, however it is reported.
    """
    if not pod.metadata.annotations:
        return ()
    meta, ports = pod.metadata, named_ports(pod.spec.containers)
    members = (
        Member(
            pod=f"{meta.namespace}/{meta.name}",
            uid=Uid(meta.uid),
            addresses=report.addresses,
            ports=ports,
            attachment=Attachment(
                network=report.network,
                interface=report.interface,
                pci=report.pci,
                representor=report.representor,
                attached=attached,
            ),
        )
        for report, attached in _attachments(pod)
    )
    return tuple(sorted(members, key=lambda member: member.attachment))


def _attachments(pod: Pod) -> Iterator[tuple[Report, bool]]:
    """What is attached (True), and what is still to be attached (False).

    Interfaces without a name get the name that Multus gives them: net1, net2, by position.
    """
    requested, reported = _requests(pod), _reports(pod)
    for place, request in sorted(enumerate(requested, start=1), key=lambda numbered: not numbered[1].interface):
        name = request.interface or f"net{place}"
        report = _take(request, reported)
        if report is None:
            yield Report(request.network, name, False, (), "", ""), False
        else:
            yield (report if report.interface else report._replace(interface=name)), True
    for place, report in enumerate(reported, start=len(requested) + 1):
        yield (report if report.interface else report._replace(interface=f"net{place}")), True


def _take(request: Request, reported: list[Report]) -> Report | None:
    """Remove and return the report that answers the request, if there is one."""
    for place, report in enumerate(reported):
        if report.network == request.network and (not request.interface or report.interface in ("", request.interface)):
            return reported.pop(place)
    return None


def _requests(pod: Pod) -> tuple[Request, ...]:
    with suppress(BadAnnotation):
        return networks.requests(pod.metadata.annotations.get(networks.NETWORKS, ""), pod.metadata.namespace)
    return ()


def _reports(pod: Pod) -> list[Report]:
    notes, own = pod.metadata.annotations, frozenset(pod.addresses)
    text = notes.get(networks.STATUS) or notes.get(networks.STATUS_BEFORE) or ""
    found: tuple[Report, ...] = ()
    with suppress(BadAnnotation):
        found = networks.reports(text, pod.metadata.namespace)
    return [report for report in found if not report.default and own.isdisjoint(report.addresses)]
