"""`sluice explain`: which policy does this come from, and since when?"""

import re
from typing import Any

import click

from sluice.cli import moments, onbus, options

_BACKENDS = (
    ("host", re.compile(r".*\br[0-9a-f]{16}\b|.*comment \"lifeline: ", re.DOTALL)),
    ("l7", re.compile(r"\s*\{|.*\bsid:\s*\d+\s*;|\s*(vlan\s+)?\d+\s*(/|\s+sid\s+)\s*\d+\s*$", re.DOTALL)),
    ("tc", re.compile(r".*(\bpref\s+\d+|\d+/\d+/(0x)?[0-9a-fA-F]+\s*$|\b534c4345[0-9a-fA-F]{24}\b)", re.DOTALL)),
)
"""By patterns in the text; anything else is a flow."""


@click.group()
def explain() -> None:
    """Find the policy behind what nodes hold and log."""


@explain.command()
@click.argument("words", nargs=-1, required=True, metavar="COOKIE|LINE...")
@click.option("--node", metavar="NODE", help="The node that holds it. Default: ask all nodes.")
@click.option(
    "--backend",
    type=click.Choice(["ovs", "tc", "l7", "host"]),
    help="The backend that holds it. Default: guessed from the text.",
)
@onbus.on_a_bus
@options.output("table")
def flow(
    *,
    words: tuple[str, ...],
    node: str | None,
    backend: str | None,
    nats_url: str | None,
    name: str | None,
    output: str,
) -> None:
    """Name the policy, the rule and the object version behind what a node holds or logs.

    Takes a flow as ovs-ofctl shows it, or its cookie; a filter as tc shows it, CHAIN/PREF/HANDLE, or its cookie; a
    Suricata signature, or VLAN/SID; a line of nft with its comment, or the id in the comment; a line of np.log; an
    event of eve.json. Ids in cookies, chains and VLANs differ between nodes, so use --node to say which node they are
    from. Exits with 0, or with 2 if nothing is known.
    """
    text = " ".join(words)
    said = onbus.run(_asked(onbus.url(nats_url, name), text, node, backend))
    if output == "json":
        options.echo_json(said)
        return
    for line in _lines(said):
        click.echo(line)


async def _asked(url: str, text: str, node: str | None, backend: str | None) -> dict[str, Any]:
    async with onbus.connected(url) as bus:
        return await told(bus, text, node, backend)


async def told(bus: Any, text: str, node: str | None = None, backend: str | None = None) -> dict[str, Any]:
    """What is known about it. If nothing is, the command ends."""
    from sluice.cli import loglines
    from sluice.contracts import subjects

    said = await loglines.np_log(bus, text)
    event = loglines.event(text) if said is None else None
    if said is None:
        wanted = backend or next((one for one, looks in _BACKENDS if looks.match(text)), "ovs")
        found, why = await _held(bus, text, node, wanted)
        if event is None:
            if found is None:
                options.refuse([why])
            return await _explained(bus, found, wanted)
        said = await loglines.eve_log(bus, event, found, why)
    rules = [await _rule(bus, rule, said.upto) for rule in said.rules]
    if not rules and event is not None:  # the alert names the policy
        rules = [await _policy(bus, subjects.unit_parts(event.unit))]
    return {**said.told, "rules": rules}


async def _held(bus: Any, text: str, node: str | None, backend: str) -> tuple[Any, str]:
    """The nodes' answer, or None, and the reason."""
    from sluice.contracts.ids import NodeName
    from sluice.runtime import explaining

    nodes = [NodeName(node)] if node else await _nodes(bus, backend)
    try:
        return await explaining.explain(bus, nodes, backend, text), ""  # type: ignore[arg-type]  # one of the choices
    except explaining.NoExplanation as error:
        return None, str(error)


async def _nodes(bus: Any, backend: str) -> list[Any]:
    from sluice.contracts import subjects
    from sluice.runtime import past

    told = await past.last_of(bus, "STATUS", f"status.*.{backend}")
    return sorted(subjects.name(message.subject.split(".")[1]) for message in told if message.body)


async def _explained(bus: Any, found: Any, backend: str) -> dict[str, Any]:
    return {
        "node": found.node,
        "backend": backend,
        "kind": found.kind,
        "says": found.says,
        "table": found.table,
        "does": found.does,
        "places": found.places,
        "pods": found.pods,
        "services": [f"{one.namespace}/{one.name}" for one in found.services],
        "objects": [await _object(bus, one) for one in found.objects],
        "rules": [await _rule(bus, rule, rule.object_revision.sequence) for rule in found.rules],
    }


async def _rule(bus: Any, rule: Any, upto: int) -> dict[str, Any]:
    """The rule, and since when it exists in this form."""
    key = _key(rule)
    said = {"direction": rule.direction, "index": rule.index, "name": rule.name, "action": rule.action}
    return {**_named(*key), **said, "since": await _since(bus, key, upto, rule.direction, rule.index)}


def _key(rule: Any) -> tuple[Any, str, str]:
    return rule.policy.kind, rule.policy.namespace, rule.policy.name


async def _policy(bus: Any, key: tuple[Any, str, str]) -> dict[str, Any]:
    """The current policy, if none of its rules is known."""
    said = {"direction": None, "index": None, "name": "", "action": None}
    return {**_named(*key), **said, "since": await _since(bus, key, None)}


async def _object(bus: Any, ref: Any) -> dict[str, Any]:
    named = {"kind": ref.kind, "namespace": ref.namespace, "name": ref.name}
    upto = ref.revision.sequence if ref.revision else None
    return {**named, "since": await _since(bus, (ref.kind, ref.namespace, ref.name), upto)}


async def _since(
    bus: Any, key: tuple[Any, str, str], upto: int | None, direction: Any = None, index: int | None = None
) -> dict[str, Any]:
    from sluice.grouping.events import ObjectKey
    from sluice.runtime import explaining, past

    upto = (await past.reach(bus)).last if upto is None else upto
    blamed = await explaining.blame(bus, ObjectKey(*key), upto, direction, index)
    return {"sequence": blamed.revision.sequence, "time": moments.written(blamed.time_ns)} if blamed else {}


def _named(kind: Any, namespace: str, name: str) -> dict[str, Any]:
    from sluice.contracts.kinds import RESOURCES

    return {"kind": RESOURCES[kind].kind, "namespace": namespace, "policy": name}


def _lines(told: dict[str, Any]) -> list[str]:
    found = [f"{told['kind']}: {told['says']}" + (f" (on node {told['node']})" if told.get("node") else "")]
    if told.get("table"):
        word = {"ovs": "table ", "tc": "chain ", "host": "chain "}.get(told["backend"], "")
        found.append(f"  {word}{told['table']}: {told['does']}")
    found += [f"  at {place}" for place in told.get("places", ()) if place != told.get("table")]
    found += [f"  Pod {pod}" for pod in told.get("pods", ())]
    found += [f"  Service {service}" for service in told.get("services", ())]
    for one in told.get("objects", ()):
        from sluice.contracts.kinds import RESOURCES, Kind

        found.append(f"  {RESOURCES[Kind(one['kind'])].kind} {'/'.join(filter(None, (one['namespace'], one['name'])))}")
        found.append(f"    {_age(one['since'])}")
    for rule in told["rules"]:
        what = f", {rule['direction']} rule {rule['index']}" if rule["index"] is not None else ""
        name = f" ({rule['name']})" if rule["name"] else ""
        action = f", {rule['action']}" if rule.get("action") else ""
        found.append(
            f"  {rule['kind']} {'/'.join(filter(None, (rule['namespace'], rule['policy'])))}{what}{name}{action}"
        )
        found.append(f"    {_age(rule['since'])}")
    return found


def _age(since: dict[str, Any]) -> str:
    return f"since {since['time']}, revision {since['sequence']}" if since else "older than the ledger"
