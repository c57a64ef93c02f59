"""Connections that the tracker meets in their middle, where a rule is about requests.

A tracker that lost what it knew (ovs-vswitchd with the userspace datapath was restarted, a zone was flushed, the entry
grew too old) takes whoever sends next for who began. Where that is the client, its packet meets policy and goes by the
inspection engine, which rejects what it did not see begin. Where it is the server, with an answer, the client would be
the one who answers from then on, and its requests would be looked into by nobody. So what may be an answer to requests
that a rule is about begins nothing: both ends are reset. It is known by the rule's Pod and by the ports that requests
go to; a rule about all ports, or about a named one, is about whatever its Pod sends or gets.
"""

from collections.abc import Iterator

from sluice.contracts.programs import Direction, TransportTraffic
from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.detour import RESET_BOTH
from sluice.dataplane.ovs.flow import FlowBody
from sluice.dataplane.ovs.layers import Layer
from sluice.dataplane.ovs.pipeline import PRIORITY_FIRST, Table
from sluice.dataplane.ovs.rules import Form
from sluice.dataplane.ovs.sources import Client, Own, Source


def unbegun_of(form: Form) -> Iterator[tuple[Layer, Source, FlowBody]]:
    """What keeps answers to the requests that the rule is about from beginning a connection, if it is about any."""
    if form.inspected_by:
        group = form.key.applied_to
        place = Own(group) if form.key.direction is Direction.INGRESS else Client(group)
        for traffic in _answers(form):
            yield _LAYER, Source(place, traffic), _RESET


def _answers(form: Form) -> Iterator[TransportTraffic]:
    """What answers to the rule's traffic look like; only TCP is inspected."""
    known = [of.traffic for sources in form.clauses for of in sources if of.traffic is not None]
    asked = [one for one in known if isinstance(one, TransportTraffic) and one.protocol == "TCP"]
    if not known or any(isinstance(one.ports, str) for one in asked):
        yield TransportTraffic(protocol="TCP")
        return
    for one in asked:
        assert not isinstance(one.ports, str)
        yield TransportTraffic(protocol="TCP", ports=one.source_ports, source_ports=one.ports)


_LAYER = Layer(Table.MID_STREAM.value, PRIORITY_FIRST)
_RESET = FlowBody((RESET_BOTH,), cookies.pack(CookieKind.MID_STREAM))
