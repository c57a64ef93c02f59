"""`verdict()`, which believes what policies are translated to, against what their objects say when read plainly."""

import os
from collections.abc import Sequence
from random import Random
from typing import Literal

import pytest
from tests.e2e.changing import Changing
from tests.e2e.held import Held
from tests.e2e.randomly import ASKED

from sluice.contracts.ids import Address
from sluice.contracts.objects import AnyObject, Node, Pod, Protocol
from sluice.contracts.programs import ServiceRef
from sluice.policy.l7 import Asked, HttpRequest, TlsHello
from sluice.policy.packet import AddressEnd, Packet, PodEnd
from sluice.policy.state import ClusterState
from sluice.policy.verdict import Decision, Isolation, RuleRef, verdict
from sluice.testkit.plain_traffic import End
from sluice.testkit.plainly import NOTHING, Plainly, Said

WORLDS = int(os.environ.get("SLUICE_RANDOM_WORLDS", "4"))
"""So many clusters change. A hundred take two minutes."""

STEPS, PACKETS = 3, 150
PROTOCOLS: tuple[Protocol | Literal["ICMP"], ...] = ("TCP", "TCP", "UDP", "SCTP", "ICMP")
OUTSIDE = ("192.0.2.10", "2001:db8::10")
REQUESTS: list[Asked] = [
    *(HttpRequest(**one["http"]) for one in ASKED if "http" in one),
    *(TlsHello(**one["tls"]) for one in ASKED if "tls" in one),
]


@pytest.mark.parametrize("seed", range(WORLDS))
def test_objects_mean_what_they_say(seed: int) -> None:
    chance = Random(f"plainly {seed}")
    changing, held = Changing(chance, requests=seed % 2 == 1), Held()
    changing.begin(held)
    by_rules = 0
    for step in range(STEPS):
        changing.change(held, step)
        held.told()
        objects = list(held.objects.values())
        state, plainly = ClusterState(objects), Plainly(objects)
        ends = _ends(objects)
        for number in range(PACKETS):
            source, to = chance.choice(ends[number % 2]), chance.choice(ends[number % 2])
            packet = _packet(chance, source, to)
            found, expected = _said(state, packet), _expected(plainly, packet, source, to)
            assert found == [said if seen is not None else None for said, seen in zip(expected, found, strict=True)], (
                packet
            )
            by_rules += sum(said not in (None, NOTHING) for said in found)
    assert by_rules


def _ends(objects: Sequence[AnyObject]) -> tuple[list[End], list[End]]:
    """Of packets over IPv4, and over IPv6: Pods above all."""
    found: list[list[End]] = [[], []]
    for six, at in enumerate(found):
        for one in objects:
            if isinstance(one, Pod) and not one.spec.host_network:
                at.extend([End(one.addresses[six], pod=one)] * 2)
            elif isinstance(one, Node):
                at.append(End(Address(one.status.addresses[six].address), node=one))
        at.append(End(Address(OUTSIDE[six])))
    return found[0], found[1]


def _packet(chance: Random, source: End, to: End) -> Packet:
    protocol = chance.choice(PROTOCOLS)
    icmp, six = protocol == "ICMP", ":" in to.address
    namespace, name = to.pod.key if to.pod is not None else ("", "")
    service = ServiceRef(namespace=namespace, name=name) if to.pod is not None and chance.random() < 0.4 else None
    return Packet(
        source=PodEnd(*source.pod.key) if source.pod else AddressEnd(source.address),
        destination=PodEnd(namespace, name) if to.pod else AddressEnd(to.address),
        protocol=protocol,
        port=None if icmp else chance.choice((79, 80, 81, 443)),
        source_port=None if icmp else chance.choice((1_999, 2_000, 2_005, 2_050, 2_063, 2_064, 2_100, 40_000)),
        icmp_type=chance.choice((8, 13, 128)) if icmp else None,
        icmp_code=chance.choice((0, 1)) if icmp else None,
        service=service,
        node_port=service is not None and source.node is None and chance.random() < 0.5,
        asks=chance.choice(REQUESTS) if protocol == "TCP" and chance.random() < 0.8 else None,
        family=6 if six else 4,
    )


def _said(state: ClusterState, packet: Packet) -> list[Said | None]:
    given = verdict(state, packet)
    return [_in_short(one) if one is not None else None for one in (given.egress, given.ingress)]


def _in_short(decision: Decision) -> Said:
    action = decision.action.value.capitalize()
    match decision.reason:
        case RuleRef(origin=origin):
            return Said(action, (origin.kind.value, origin.namespace, origin.name))
        case Isolation(policies=policies):
            return Said(action, min((one.kind.value, one.namespace, one.name) for one in policies))
        case _:
            return Said(action)


def _expected(plainly: Plainly, packet: Packet, source: End, to: End) -> list[Said]:
    """A Pod and its node always reach the Pod, and what it sends to itself meets policy only by a Service."""
    itself = source.address == to.address
    own = source.node is not None and to.pod is not None and to.pod.node == source.node.metadata.name
    egress = NOTHING if itself and packet.service is None else plainly.egress(packet, source, to)
    if itself or own:
        return [egress, NOTHING]
    ingress = plainly.ingress(packet, source, to)
    if packet.node_port and source.pod is None:
        door = plainly.at_node_port(packet, source, to)
        ingress = door if door.action != "Allow" or ingress.by is None else ingress
    return [egress, ingress]
