"""Connections that the tracker first sees in the middle, where a layer 7 rule applies.

A tracker that lost its state (ovs-vswitchd with the userspace datapath restarted, a zone was flushed, the entry
expired) takes whoever sends next for the client. If that is the client, its packet is subject to policy and goes to the
inspection engine, which rejects a stream whose beginning it did not see. If it is the server with a reply, the client
would count as the replying side from then on, and its requests would never be inspected. So a packet that may be a
reply to such requests starts no connection: both ends are reset. It is recognised by the rule's Pod and the ports that
requests go to; a rule about all ports, or a named one, covers everything its Pod sends or receives.
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
    """What keeps replies to requests that the rule has inspected from beginning a connection, if there are such."""
    if form.inspected_by:
        group = form.key.applied_to
        place = Own(group) if form.key.direction is Direction.INGRESS else Client(group)
        for traffic in _answers(form):
            yield _LAYER, Source(place, traffic), _RESET


def _answers(form: Form) -> Iterator[TransportTraffic]:
    """The traffic that replies to the rule's traffic; only TCP is inspected."""
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
