"""`sluice trace`: the path of a packet through the switches according to their current flows."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from sluice.cli import onbus, options

FROM = "NAMESPACE/POD, or an address outside the cluster."
TO = "NAMESPACE/POD, svc:NAMESPACE/SERVICE, or an address."


@click.command()
@click.option("--from", "source", required=True, metavar="END", help=FROM)
@click.option("--to", "destination", required=True, metavar="END", help=TO)
@click.option(
    "--protocol",
    type=click.Choice(("TCP", "UDP", "SCTP", "ICMP"), case_sensitive=False),
    default="TCP",
    show_default=True,
)
@click.option("--port", type=click.IntRange(1, 65_535), help="Destination port; not for ICMP.")
@click.option("--source-port", type=click.IntRange(1, 65_535), default=40_000, show_default=True)
@click.option("--icmp-type", type=click.IntRange(0, 255), help="Default: an echo request.")
@click.option("--icmp-code", type=click.IntRange(0, 255), default=0, show_default=True)
@click.option("--family", type=click.Choice(["4", "6"]), help="IP version, if both ends have addresses of both.")
@click.option("--node", help="The node where a packet from outside the cluster enters. Default: its receiver's.")
@click.option("--established", is_flag=True, help="Trace a later packet of an allowed connection instead of the first.")
@click.option("--reply", is_flag=True, help="Also trace the reply, if the packet reaches a Pod.")
@click.option(
    "--choice",
    type=click.IntRange(1, (1 << 32) - 1),
    default=1,
    show_default=True,
    help="Selects one of a Service's endpoints.",
)
@onbus.on_a_bus
@options.output("table", "wide")
def trace(nats_url: str | None, name: str | None, output: str, *, reply: bool, **asked: Any) -> None:
    """Follow a packet through the switches of a running cluster or lab, and name the rules it meets.

    Asks the switch of the sender's node, then that of the receiver's node, what their current flows would do with the
    packet. No packet is sent. Exits with 0 whatever the answer, with 2 on bad input.
    """
    transport = asked["protocol"] != "ICMP"
    if transport and asked["port"] is None:
        raise click.UsageError(f"--port is missing: a {asked['protocol']} packet has a destination port")
    if not transport and asked["port"]:
        raise click.UsageError("--port: an ICMP packet has none; leave it out")
    if transport and asked["icmp_type"] is not None:
        raise click.UsageError(f"--icmp-type: a {asked['protocol']} packet has none; leave it out")
    ways = onbus.run(_traced(onbus.url(nats_url, name), asked, reply=reply))
    if output == "json":
        options.echo_json({way.kind: _told(way) for way in ways})
        return
    port = f" {asked['port']}" if asked["port"] else ""
    click.echo(f"{asked['source']} to {asked['destination']}, {asked['protocol']}{port}")
    for way in ways:
        for told in way.traces:
            click.echo(f"\n{way.kind} on node {told.node} (objects up to revision {told.applied.sequence})")
            rows = [("  TABLE", "FLOW", "WHY", "DOES"), *map(_row, told.hops)]
            click.echo(options.table(rows if output == "wide" else [row[:3] for row in rows]))
        click.echo(f"{way.kind}: {way.traces[-1].outcome} {_end(way)}")


class _Way(NamedTuple):
    kind: str
    traces: Any  # of Trace, which is imported lazily


async def _traced(url: str, asked: dict[str, Any], *, reply: bool) -> list[_Way]:
    from sluice.contracts.tracing import FromPod, FromWorld, Traced, TraceQuestion
    from sluice.runtime import tracing

    async with onbus.connected(url) as bus:
        try:
            source = await _found(bus, asked["source"], "--from")
            target = await _found(bus, asked["destination"], "--to")
            node = source.node or asked["node"] or target.node
            if not node:
                options.refuse(
                    ["--node is missing: neither end of the packet is a Pod, so name the node where it enters"]
                )
            addresses = _of_one_family(source, target, asked["family"])
            packet = Traced(
                source=addresses[0],
                destination=addresses[1],
                protocol=asked["protocol"],
                port=asked["port"] or 0,
                source_port=asked["source_port"] if asked["port"] else 0,
                icmp_type=asked["icmp_type"],
                icmp_code=asked["icmp_code"],
            )
            state: Any = "established" if asked["established"] else "new"
            begin = FromPod(pod=source.pod) if source.pod else FromWorld()
            question = TraceQuestion(begin=begin, packet=packet, state=state, choice=asked["choice"])
            ways = [_Way("packet", await tracing.trace(bus, node, question))]
            got = ways[0].traces[-1]
            if reply and got.outcome == "Allowed" and got.pods:
                back = TraceQuestion(begin=FromPod(pod=got.pods[0]), packet=_answer(got.packet), state="reply")
                ways.append(_Way("reply", await tracing.trace(bus, got.node, back)))
            return ways
        except tracing.NoTrace as error:
            options.refuse([f"{url}: {error}"])


class _Found(NamedTuple):
    """An end, and what the bus knows about it."""

    addresses: tuple[str, ...]
    pod: str = ""
    node: Any = ""


async def _found(bus: Any, text: str, option: str) -> _Found:
    from ipaddress import ip_address

    from sluice.contracts.kinds import Kind
    from sluice.contracts.objects import Pod
    from sluice.contracts.services import Service
    from sluice.grouping.events import ObjectKey
    from sluice.runtime.tracing import object_of

    kind, name = (Kind.SERVICE, text.removeprefix("svc:")) if text.startswith("svc:") else (Kind.POD, text)
    namespace, slash, short = name.partition("/")
    if not slash:
        try:
            return _Found((str(ip_address(text)),))
        except ValueError:
            raise click.BadParameter(
                f"{text!r} cannot be the source or destination of a packet; write {TO}", param_hint=option
            ) from None
    if kind is Kind.SERVICE and option == "--from":
        raise click.BadParameter(f"{text}: a Service sends no packets itself; name one of its Pods", param_hint=option)
    found = await object_of(bus, ObjectKey(kind, namespace, short))
    if isinstance(found, Service):
        return _Found(tuple(ip for ip in found.spec.cluster_ips if ip not in ("", "None")))
    if not isinstance(found, Pod):
        options.refuse([f"{option} {text}: the bus knows no such {'Pod' if kind is Kind.POD else 'Service'}"])
    if not found.on_pod_network:
        options.refuse([f"{option} {text}: the Pod does not run, or is on its node's network; no policy applies to it"])
    return _Found(found.addresses, name, found.node)


def _of_one_family(source: _Found, target: _Found, family: str | None) -> tuple[Any, Any]:
    from ipaddress import ip_address

    versions = (int(family),) if family else (4, 6)
    pairs = [
        (one, other)
        for version in versions
        for one in source.addresses
        for other in target.addresses
        if ip_address(one).version == ip_address(other).version == version
    ]
    if not pairs:
        wanted = f"of IPv{family}" if family else "of the same family"
        options.refuse([f"{source.addresses} and {target.addresses}: there are no two addresses {wanted}"])
    return pairs[0]


def _answer(packet: Any) -> Any:
    from msgspec.structs import replace

    replies = {8: 0, 128: 129, 13: 14}
    kind = packet.icmp_type
    return replace(
        packet,
        source=packet.destination,
        destination=packet.source,
        port=packet.source_port,
        source_port=packet.port,
        icmp_type=replies.get(kind, kind) if kind is not None else (129 if ":" in packet.source else 0),
    )


def _told(way: _Way) -> dict[str, Any]:
    last = way.traces[-1]
    return {"outcome": last.outcome, "end": _end(way), "rules": _rules(way), "nodes": way.traces}


def _rules(way: _Way) -> list[Any]:
    return [hop.rule for told in way.traces for hop in told.hops if hop.rule]


def _row(hop: Any) -> tuple[str, str, str, str]:
    flow = hop.match or ("everything else" if hop.kind != "none" else "no flow")
    return f"  {hop.table:3} {hop.name}", flow, _why(hop), ",".join(hop.actions) or "drop"


def _why(hop: Any) -> str:
    if hop.rule is not None:
        return f"{_rule(hop.rule)}, {hop.rule.action}, revision {hop.rule.object_revision.sequence}"
    if hop.kind in ("rule", "isolation"):
        return "a rule that was just removed"
    return hop.does if hop.kind in ("base", "none") else f"{hop.kind}: {hop.does}"


def _rule(rule: Any) -> str:
    from sluice.contracts.kinds import RESOURCES

    origin = rule.policy
    policy = f"{RESOURCES[origin.kind].kind} {'/'.join(filter(None, (origin.namespace, origin.name)))}"
    if rule.index is None:
        return f"isolated by {policy} ({rule.direction})"
    return f"{policy}, {rule.direction} rule {rule.index}" + (f" ({rule.name})" if rule.name else "")


def _end(way: _Way) -> str:
    last = way.traces[-1]
    if last.outcome != "Allowed":
        hop = next(hop for hop in reversed(last.hops) if hop.kind != "count")  # who denied it is counted after that
        why = _rule(hop.rule) if hop.rule else f"in table {hop.table} {hop.name}, which {hop.does}"
        return f"on node {last.node}: {why}"
    to = [*(f"Pod {pod}" for pod in last.pods), *(["the node's network stack"] if last.world else [])]
    by = "; ".join(_allowing(way)) or "no rule applies to it"
    return f"to {', '.join(to) or 'an unknown port'} on node {last.node}: {by}"


def _allowing(way: _Way) -> Iterator[str]:
    return (f"{rule.action} by {_rule(rule)}" for rule in _rules(way))
