"""Whether everything that the nodes of a lab hold and have logged goes back to what people wrote.

Flows are those that the switch itself tells, signatures those of the engine's rule files, lines those of the logs.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from sluice.cli import explain as command
from sluice.contracts.audit import Loss
from sluice.contracts.explaining import Meaning
from sluice.contracts.ids import Backend, NodeName
from sluice.dataplane.audit import np_line
from sluice.dataplane.host.ids import id_of
from sluice.dataplane.l7.engine import CLOSED_TENANT
from sluice.dataplane.ovs import cookies, text
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.flow import Flows
from sluice.drivers.nftables.tables import Tables
from sluice.drivers.openflow.switch import Switch
from sluice.grouping.events import ObjectKey
from sluice.lab import inspection
from sluice.lab.lab import Lab
from sluice.lab.node import LabNode
from sluice.runtime import explaining

NAMES = {
    CookieKind.PORT: ("pods",),
    CookieKind.CLAUSE: ("rules",),
    CookieKind.RULE: ("rules",),
    CookieKind.ISOLATION: ("rules",),
    CookieKind.ROUTE: ("objects",),
    CookieKind.UPLINK: ("objects",),
    CookieKind.SERVICE: ("services",),
    CookieKind.AFFINITY: ("services",),
    CookieKind.L7: ("rules",),
    CookieKind.TRAFFIC_CONTROL: ("objects",),
    CookieKind.COUNT: ("rules",),
    CookieKind.MULTICAST: ("pods", "far"),
}
"""What the meaning of each kind of flow must name, one of it; of the others there is nothing to name."""

PAGE = 200
"""Less than most nodes hold, so that there are several pages."""

ACTING_S = 60.0
"""How long a node may go on after what was applied is in force: old ways into an engine go when they are not used."""

POLL_S = 0.2

Blamed = set[tuple[Any, ...]]

Look = Callable[[Lab, LabNode, Blamed], AsyncIterator[str]]
"""What cannot be explained on a node; the rules that the rest goes back to are added."""

_seen: dict[Path, int] = {}
"""How far each log was read."""


async def unexplained(lab: Lab) -> list[str]:
    """What cannot be explained, one line each."""
    found: list[str] = []
    blamed: Blamed = set()
    for node in lab.nodes.values():
        looks = [_flows, *([_signatures] if node.inspects else []), *([_table] if node.is_guarded else [])]
        for look in looks:
            found += [f"{node.name}: {what}" for what in await _lasting(look, lab, node, blamed)]
        found += [f"{node.name}: {what}" async for what in _lines(lab, node)]
    for key, direction, index, upto in sorted(blamed, key=str):
        if await explaining.blame(lab.bus, key, upto, direction, index) is None:
            found.append(f"{key}, {direction} rule {index}: no version of it is known up to {upto}")
    return found


async def _lasting(look: Look, lab: Lab, node: LabNode, blamed: Blamed) -> list[str]:
    """What stays so. What a node says it holds and what is there are two questions, and it may act between them."""
    deadline = time.monotonic() + ACTING_S
    while True:
        blames: Blamed = set()
        found = [what async for what in look(lab, node, blames)]
        if not found or time.monotonic() > deadline:
            blamed |= blames
            return found
        await asyncio.sleep(POLL_S)


async def _flows(lab: Lab, node: LabNode, blamed: Blamed) -> AsyncIterator[str]:
    told = await listed(lab, node.name, "ovs")
    for key, body in (await held(node)).items():
        line, cookie = text.write(key, body), cookies.unpack(body.cookie)
        if cookie is None:
            yield f"not ours: {line}"
            continue
        if cookie.kind is CookieKind.AFFINITY:  # the switch has learnt it
            meaning: Meaning = await explaining.explain(lab.bus, [node.name], "ovs", line)
        elif line in told:
            meaning = told.pop(line)
        else:
            yield f"not listed: {line}"
            continue
        far = cookie.kind is CookieKind.MULTICAST and "tun_" in line
        named = [name for name in NAMES.get(cookie.kind, ()) if (name == "far" and far) or getattr(meaning, name, None)]
        right = meaning.kind == cookie.kind.name.lower() and meaning.says and meaning.table and meaning.does
        if not right or (cookie.kind in NAMES and not named):
            yield f"{line}: {meaning}"
        blamed |= set(_blamed(meaning))
    for line in told:
        yield f"listed, and not in the switch: {line}"


async def _signatures(lab: Lab, node: LabNode, blamed: Blamed) -> AsyncIterator[str]:
    told = await listed(lab, node.name, "l7", by_place=True)
    of_rules = set(inspection.rule_sets(node.folder))
    for file in (node.folder / "l7").glob("tenant-*.rules"):
        try:
            tenant, rules = file.stem.replace("-", " "), file.read_text()
        except FileNotFoundError:
            continue  # the node has just taken it away
        in_force = any(digest in rules for digest in of_rules)
        for line in rules.splitlines():
            meaning = told.get(f"{tenant}\n{line}")
            if meaning is None:
                yield f"{tenant}: not listed: {line}"
            elif not meaning.says or (in_force and not meaning.rules):
                yield f"{tenant}: {line}: {meaning}"
            else:
                blamed |= set(_blamed(meaning))
    if not any(key.startswith(f"tenant {CLOSED_TENANT}\n") for key in told):
        yield f"tenant {CLOSED_TENANT} is not listed"


async def _table(lab: Lab, node: LabNode, blamed: Blamed) -> AsyncIterator[str]:
    """Of the node's own table, by the comments that its kernel has."""
    told = await listed(lab, node.name, "host", by_place=True)
    for name, chain in (await asyncio.to_thread(Tables(node.netns).read)).chains.items():
        for line in chain.lines:
            comment = json.loads(line)["comment"]
            found = [one for key, one in told.items() if key.startswith(f"chain {name}\n") and comment in key]
            if not found or not found[0].says or (id_of(comment) and not found[0].rules):
                yield f"{name}: {comment}: {found}"
            else:
                blamed |= set(_blamed(found[0]))


async def _lines(lab: Lab, node: LabNode) -> AsyncIterator[str]:
    """Of lines that say the same of another packet, one is asked for."""
    asked: dict[tuple[Any, ...], str] = {}
    for line in (*_new(node.audit_log), *_new(node.host_log)):
        said = np_line.read(line)
        if isinstance(said, Loss):
            continue
        parts = ("table", "policy", "rule", "direction", "action", "applied_to")
        asked["np", *(getattr(said, part, "") for part in parts)] = line
    for file in sorted((node.folder / inspection.LOGS).glob("eve-*.json")):
        for line in _new(file):
            event = json.loads(line)
            signature = event.get("alert", {}).get("signature_id")
            asked["l7", event["event_type"], event.get("tenant_id"), signature] = line
    for line in asked.values():
        try:
            told = await command.told(lab.bus, line, node.name)
        except SystemExit:
            yield f"not explained: {line}"
            continue
        if not told["rules"] or not all(rule["since"] for rule in told["rules"]):
            yield f"{line}: {told}"


def _new(path: Path) -> list[str]:
    """Lines that were written since the last question."""
    try:
        with path.open("rb") as file:
            file.seek(_seen.get(path, 0))
            body = file.read()
    except FileNotFoundError:
        return []
    whole = body[: body.rfind(b"\n") + 1]
    _seen[path] = _seen.get(path, 0) + len(whole)
    return whole.decode().splitlines()


def _blamed(meaning: Meaning) -> Iterator[tuple[Any, ...]]:
    for rule in meaning.rules:
        key = ObjectKey(rule.policy.kind, rule.policy.namespace, rule.policy.name)
        yield key, rule.direction, rule.index, rule.object_revision.sequence


async def held(node: LabNode) -> Flows:
    """What the switch holds, by its own word."""
    switch = await Switch.connect(node.ovs.mgmt_socket())
    try:
        return await switch.dump()
    finally:
        switch.close()


async def listed(lab: Lab, node: NodeName, backend: Backend, *, by_place: bool = False) -> dict[str, Meaning]:
    """All that the node says it holds, by the line; with `by_place`, by the place and the line."""
    found: dict[str, Meaning] = {}
    after = ""
    while True:
        page = await explaining.held(lab.bus, node, backend, after, PAGE)
        found |= {"\n".join([*_places(one.places, by_place=by_place), one.line]): one for one in page.items}
        after = page.more
        if not after:
            return found


def _places(places: Iterable[str], *, by_place: bool) -> Iterable[str]:
    return places if by_place else ()
