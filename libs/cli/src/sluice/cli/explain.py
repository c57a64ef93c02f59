"""`sluice explain`: whose is this flow, and since when?"""

from typing import Any

import click

from sluice.cli import moments, onbus, options


@click.group()
def explain() -> None:
    """Go back from what nodes hold and log to the policy behind it."""


@explain.command()
@click.argument("words", nargs=-1, required=True, metavar="COOKIE|LINE...")
@click.option("--node", metavar="NODE", help="That holds it. Unset: each is asked.")
@onbus.on_a_bus
@options.output("table")
def flow(words: tuple[str, ...], node: str | None, nats_url: str | None, name: str | None, output: str) -> None:
    """Name the policy, the rule and the version of the object behind a flow, a signature or a line of a log.

    Takes a cookie, a flow as ovs-ofctl shows it, a line of np.log, an event of eve.json or a signature of Suricata. Ids
    in cookies are those of a node, so --node says whose they are. Exits with 0, or with 2 if nothing is known of it.
    """
    text = " ".join(words)
    told = onbus.run(_told(onbus.url(nats_url, name), text, node))
    if output == "json":
        options.echo_json(told)
        return
    for line in _lines(told):
        click.echo(line)


async def _told(url: str, text: str, node: str | None) -> dict[str, Any]:
    async with await onbus.connected(url) as bus:
        logged = _logged(text)
        if logged is not None:
            return {**logged, "rules": [await _rule(bus, one) for one in logged["rules"]]}
        return await _flow(bus, text, node)


async def _flow(bus: Any, text: str, node: str | None) -> dict[str, Any]:
    from sluice.contracts.ids import NodeName
    from sluice.grouping.events import ObjectKey
    from sluice.runtime import explaining

    nodes = [NodeName(node)] if node else await _nodes(bus)
    try:
        found = await explaining.explain(bus, nodes, "ovs", text)
    except explaining.NoExplanation as error:
        options.refuse([str(error)])
    rules = []
    for rule in found.rules:
        asked = {
            "key": ObjectKey(rule.policy.kind, rule.policy.namespace, rule.policy.name),
            "direction": rule.direction,
            "index": rule.index,
            "name": rule.name,
            "action": rule.action,
            "upto": rule.object_revision.sequence,
        }
        rules.append(await _rule(bus, asked))
    return {
        "node": found.node,
        "kind": found.kind,
        "says": found.says,
        "table": found.table,
        "does": found.does,
        "pods": found.pods,
        "services": [f"{one.namespace}/{one.name}" for one in found.services],
        "rules": rules,
    }


async def _rule(bus: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """The rule, and since when it is so."""
    from sluice.contracts.kinds import RESOURCES
    from sluice.runtime import explaining, past

    key = asked.pop("key")
    upto = asked.pop("upto", None) or (await past.reach(bus)).last
    blamed = await explaining.blame(bus, key, upto, asked["direction"], asked["index"])
    named = {"kind": RESOURCES[key.kind].kind, "namespace": key.namespace, "policy": key.name}
    since = {"sequence": blamed.revision.sequence, "time": moments.written(blamed.time_ns)} if blamed else {}
    return {**named, **asked, "since": since}


async def _nodes(bus: Any) -> list[Any]:
    from sluice.contracts import codec
    from sluice.contracts.status import NodeStatus
    from sluice.runtime import past

    told = await past.last_of(bus, "STATUS", "status.*.ovs")
    return sorted(codec.decode(message.body, NodeStatus).node for message in told if message.body)


def _logged(text: str) -> dict[str, Any] | None:
    """What a line of a log, or a signature, is about; None if it is neither."""
    import re

    from sluice.contracts.audit import Loss
    from sluice.dataplane.audit import np_line

    try:
        said = np_line.read(text)
    except np_line.NotALine:
        pass
    else:
        if isinstance(said, Loss):
            return {"kind": "np.log", "says": f"{said.lines} lines are missing: {said.reason}", "rules": []}
        told: dict[str, Any] = {
            "kind": "np.log",
            "says": f"{said.action} in {said.table}, for {said.applied_to or 'a Pod'}",
        }
        return {**told, "rules": _units([said.unit] if said.unit else [], said.direction.lower(), said.rule)}
    denial = re.search(r"Reject by ([A-Za-z0-9]+:[^\"\\;]+)", text)
    if denial is None:
        return None
    unit = np_line.unit_of(denial[1].strip())
    kind = "signature" if "sid:" in text else "eve.json"
    return {
        "kind": kind,
        "says": "rejects what the policy's L7 rules do not allow",
        "rules": _units([unit] if unit else []),
    }


def _units(units: list[Any], direction: str | None = None, name: str = "") -> list[dict[str, Any]]:
    from sluice.contracts import subjects
    from sluice.contracts.programs import Direction
    from sluice.grouping.events import ObjectKey

    toward = Direction(direction) if direction else None
    return [
        {"key": ObjectKey(*subjects.unit_parts(unit)), "direction": toward, "index": None, "name": name}
        for unit in units
    ]


def _lines(told: dict[str, Any]) -> list[str]:
    found = [f"{told['kind']}: {told['says']}" + (f" (on node {told['node']})" if told.get("node") else "")]
    if told.get("table"):
        found.append(f"  table {told['table']}: {told['does']}")
    found += [f"  Pod {pod}" for pod in told.get("pods", ())]
    found += [f"  Service {service}" for service in told.get("services", ())]
    for rule in told["rules"]:
        what = f", {rule['direction']} rule {rule['index']}" if rule["index"] is not None else ""
        name = f" ({rule['name']})" if rule["name"] else ""
        action = f", {rule['action']}" if rule.get("action") else ""
        found.append(
            f"  {rule['kind']} {'/'.join(filter(None, (rule['namespace'], rule['policy'])))}{what}{name}{action}"
        )
        since = rule["since"]
        found.append(
            f"    since {since['time']}, revision {since['sequence']}" if since else "    older than the ledger"
        )
    return found
