"""What a scenario leaves behind after all its objects are deleted: there must be nothing."""

import asyncio
import time

from sluice.contracts import codec, subjects
from sluice.contracts.subjects import PageSubject, ProgramSubject
from sluice.dataplane.ovs import cookies
from sluice.dataplane.ovs.conntrack import CT_ZONE
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.ids import RuleIdsState
from sluice.drivers.conntrack.entries import Entry
from sluice.drivers.conntrack.tracker import ICMPV6, Tracker
from sluice.drivers.openflow.switch import Switch, UnreadableFlows
from sluice.drivers.ovsdb.client import Ovsdb
from sluice.drivers.ovsdb.roles import ROLE, TRAFFIC
from sluice.lab import hosting, inspection
from sluice.lab.lab import Lab
from sluice.lab.node import LabNode
from sluice.lab.ovs import BRIDGE
from sluice.lab.underlay import BRIDGE as PHYSICAL
from sluice.lab.underlay import UPLINK
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, follow
from sluice.runtime.message import Message

_STANDING = frozenset((CookieKind.BASE, CookieKind.UPLINK))

IDS_S = 5.0
"""node-ovs saves its rule ids once a second."""

PORTS_S = 5.0
POLL_S = 0.1
"""Some things disappear after a change is in force, without any event."""


async def leftovers(lab: Lab) -> list[str]:
    """Flows of policies and ports, connections, pages and programs that still exist; one line each."""
    found: list[str] = []
    for node in lab.nodes.values():
        found += [f"{node.name}: {what}" for what in await _on_node(node)]
    for stream in ("GROUPS", "PROGRAMS"):
        found += await _stored(lab.bus, stream)
    return found


async def _on_node(node: LabNode) -> list[str]:
    found = [f"a port of the switch: {name}" for name in await _strange_ports(node)]
    found += [f"a rule set of the inspection engine: {digest}" for digest in await _rule_sets(node)]
    if node.is_guarded:
        found += [
            f"a rule of the node's own table: {one}" for one in await asyncio.to_thread(hosting.rules_left, node.netns)
        ]
    found += await _flows(node)
    entries = await Tracker(node.ovs.vswitchd_control).entries(CT_ZONE)
    return [*found, *(f"a connection: {entry}" for entry in entries if _should_be_gone(node, entry))]


async def _flows(node: LabNode) -> list[str]:
    """Flows that depend on policies. node-ovs removes the flows into the engine only when node-l7 tells it to."""
    switch = await Switch.connect(node.ovs.mgmt_socket())
    deadline = time.monotonic() + IDS_S
    try:
        while True:
            flows = {key: cookies.unpack(body.cookie) for key, body in (await switch.dump()).items()}
            left = {key: of for key, of in flows.items() if of is None or of.kind not in _STANDING}
            if not any(of and of.kind is CookieKind.L7 for of in left.values()) or time.monotonic() > deadline:
                break
            await asyncio.sleep(POLL_S)
    except UnreadableFlows as error:
        return [str(error)]
    finally:
        switch.close()
    return [
        f"a flow of {of.kind.name if of else 'somebody else'} in table {key.table}: {key}" for key, of in left.items()
    ]


async def _rule_sets(node: LabNode) -> list[str]:
    """Rule sets still announced to node-ovs. node-l7 updates the file right after it reports what it applied."""
    deadline = time.monotonic() + IDS_S
    while (found := inspection.rule_sets(node.folder)) and time.monotonic() < deadline:  # noqa: ASYNC110  # a file
        await asyncio.sleep(POLL_S)
    return found


async def _strange_ports(node: LabNode) -> list[str]:
    """Ports that the lab did not create: TrafficControls' ports are removed once no flow leads there."""
    deadline = time.monotonic() + PORTS_S
    while True:
        found = await _ports_of_others(node)
        if not found or time.monotonic() > deadline:
            return found
        await asyncio.sleep(POLL_S)


async def _ports_of_others(node: LabNode) -> list[str]:
    ovsdb = await Ovsdb.connect(node.ovs.db_socket)
    try:
        asked = {"op": "select", "table": "Interface", "where": [], "columns": ["name", "external_ids"]}
        (found,) = await ovsdb.transact(asked)
    finally:
        ovsdb.close()
    known = {BRIDGE, PHYSICAL, UPLINK}
    others = ((row["name"], dict(row["external_ids"][1]).get(ROLE, TRAFFIC)) for row in found["rows"])
    return sorted(name for name, role in others if role == TRAFFIC and name not in known)


def _should_be_gone(node: LabNode, entry: Entry) -> bool:
    """Whether it was a connection of a Pod of the node. ICMPv6 connections stay for a minute; see Tracker.flush."""
    return entry.protocol != ICMPV6 and not entry.addresses.isdisjoint(node.had)


async def forget(lab: Lab) -> None:
    """Clear the connections of all nodes, so that the next scenario starts with none."""
    for node in lab.nodes.values():
        await Tracker(node.ovs.vswitchd_control).flush_zone(CT_ZONE)
        node.had.clear()
        if node.is_guarded:
            await asyncio.to_thread(hosting.forget, node.netns)


async def ids_left(lab: Lab) -> list[str]:
    """Rules that still have an id on a node. Ids are saved only once in a while, so this waits until there are none."""
    deadline = time.monotonic() + IDS_S
    while True:
        found = [f"{node.name}: a rule id: {key}" for node in lab.nodes.values() for key in _rule_ids(node)]
        if not found or time.monotonic() > deadline:
            return found
        await asyncio.sleep(POLL_S)


def _rule_ids(node: LabNode) -> list[str]:
    path = node.state_folder / "rule-ids.json"
    if not path.exists():
        return []
    state = codec.decode(path.read_bytes(), RuleIdsState)
    return [str(slot.key) for slot in state.slots if slot.key is not None]


async def _stored(bus: Bus, stream: str) -> list[str]:
    """Pages and programs other than tombstones."""
    last: dict[str, bytes] = {}
    async with follow(bus, stream, last_only=True) as events:
        async for event in events:
            match event:
                case Message():
                    last[event.subject] = event.body
                case CaughtUp():
                    break
                case _:
                    last.clear()
    return [
        f"{stream}: {subject}"
        for subject, body in sorted(last.items())
        if body and isinstance(subjects.parse(subject), PageSubject | ProgramSubject)
    ]
