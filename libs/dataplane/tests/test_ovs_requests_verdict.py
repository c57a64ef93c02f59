"""Law 3 above ports: what `verdict` says of a request is what becomes of it in the flows, beside an engine by the book.

The engine of these tests has what each VLAN's rules mean; `tests/l7` is about its signatures, and `test_shuffled.py`
about all of it with real packets.
"""

from collections.abc import Mapping
from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.contracts.l7 import L7Match
from sluice.dataplane.l7.wanted import rule_set
from sluice.dataplane.ovs.detour import lower_detour
from sluice.dataplane.ovs.errand import Errand
from sluice.dataplane.ovs.fields import TCP_RST, Field
from sluice.dataplane.ovs.ports import LocalPort, mac
from sluice.grouping.events import ObjectEvent
from sluice.policy import l7
from sluice.policy.l7 import Asked, HttpRequest, TlsHello
from sluice.policy.verdict import Outcome, verdict
from sluice.testkit import builders, strategies, tiered
from sluice.testkit.cluster_node import Node
from sluice.testkit.detour import PORTS, Inspected, inspected
from sluice.testkit.examples import share
from sluice.testkit.expanders import story
from sluice.testkit.tracker import Packet, Tracker
from sluice.testkit.walker import Walker

ASKED: tuple[Asked | None, ...] = (
    HttpRequest(host="x.foo.com", path="/a/b"),
    HttpRequest(host="x", path="/b", method="POST"),
    TlsHello(sni="a.foo.com"),
    TlsHello(sni="b.foo.com"),
    None,
)
"""None: what is no request."""


@st.composite
def clusters(draw: st.DrawFn) -> list[ObjectEvent]:
    """Three Pods of a node, policies that look into requests, and others."""
    spaces = [builders.namespace(name, **draw(strategies.labels)) for name in strategies.NAMESPACES]
    pods = [
        builders.pod(
            f"{of}/a", ip=(f"10.0.0.{number}", f"fd00::{number}"), node="node-1", labels=draw(strategies.labels)
        )
        for number, of in enumerate(strategies.NAMESPACES, start=1)
    ]
    judged = draw(st.lists(tiered.about_requests, min_size=1, max_size=3))
    others = draw(st.lists(st.one_of(strategies.netpols, tiered.policies), max_size=2))
    return story(*spaces, *pods, *judged, *others)


def judged_by(node: Node) -> tuple[dict[str, int], dict[int, tuple[L7Match, ...]]]:
    """The VLAN of each rule set by its digest, and what it means by the VLAN."""
    entries: dict[str, tuple[L7Match, ...]] = {}
    for program in node.state.compiler.programs.values():
        for rule in program.rules:
            if rule.l7 and (found := rule_set(program.origin, rule)) is not None:
                entries[found.digest] = rule.l7
    vlans = {digest: number for number, digest in enumerate(sorted(entries), start=1)}
    return vlans, {vlan: entries[digest] for digest, vlan in vlans.items()}


@share(20)
@given(clusters())
def test_requests_meet_the_fate_that_the_verdict_has_for_them(events: list[ObjectEvent]):
    node = Node(events)
    vlans, means = judged_by(node)
    node.engine.inspect(vlans)
    walker = Walker(node.engine.flows | lower_detour(PORTS, frozenset(vlans.values()), 3))
    exact = not node.engine.problems()

    for packet, fields, target in node.packets():
        for asked in ASKED if packet.protocol == "TCP" and packet.port in (53, 80) else ASKED[-1:]:
            walker.tracker = Tracker()  # each is a connection of its own
            found = inspected(walker, fields)  # the handshake, which the engine lets pass
            if fate(found) is Outcome.ALLOWED and packet.protocol == "TCP":
                found = inspected(walker, fields, partial(passes, means, asked))
            assert {one.port for one in found.sent if not is_reset(one.packet)} <= {target.ofport}
            if exact:
                said = verdict(node.state, replace(packet, asks=asked)).outcome
                assert fate(found) is said, (packet, asked)


@share(5)
@given(clusters())
def test_no_answer_to_a_request_begins_a_connection(events: list[ObjectEvent]):
    """Where the tracker has forgotten one that was looked into: else what its client asks would pass as answers."""
    node = Node(events)
    vlans, _ = judged_by(node)
    node.engine.inspect(vlans)
    walker = Walker(node.engine.flows | lower_detour(PORTS, frozenset(vlans.values()), 3))

    for packet, fields, target in node.packets():
        walker.tracker = Tracker()
        if packet.protocol == "TCP" and inspected(walker, fields).seen:
            walker.tracker = Tracker()
            back = inspected(walker, answer(fields, target))
            assert back.seen or not back.sent, packet  # what the engine sees in its middle it rejects
            assert inspected(walker, {**fields, Field.TCP_FLAGS: 0}).seen


def answer(to: Packet, from_: LocalPort) -> dict[Field, int]:
    ends = {Field.IN_PORT: from_.ofport, Field.ETH_SRC: mac(from_.mac), Field.TCP_FLAGS: 0}
    swapped = ((Field.IPV4_SRC, Field.IPV4_DST), (Field.IPV6_SRC, Field.IPV6_DST), (Field.TCP_SRC, Field.TCP_DST))
    return {**to, **ends, **{one: to[other] for pair in swapped for one, other in (pair, pair[::-1]) if other in to}}


def passes(means: Mapping[int, tuple[L7Match, ...]], asked: Asked | None, frame: Packet) -> bool:
    """Resets of its own it lets pass."""
    return is_reset(frame) or (asked is not None and l7.allows(means[frame[Field.VLAN_VID] & 0xFFF], asked))


def is_reset(packet: Packet) -> bool:
    return bool(packet.get(Field.TCP_FLAGS, 0) & TCP_RST)


def fate(found: Inspected) -> Outcome:
    """What the sender sees: the answer of whom it asked, a reset of the engine's or of the switch, or nothing."""
    if any(not is_reset(one.packet) for one in found.sent):
        return Outcome.ALLOWED
    if found.sent:
        return Outcome.REJECTED
    return Outcome.REJECTED if bytes((Errand.REJECT,)) in found.punted else Outcome.DROPPED
