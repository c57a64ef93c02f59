"""`sluice verdict`: what happens to one packet, and which rule says so?"""

from typing import Any

import click

from sluice.cli import deciding, moments, onbus, options, packets


@click.command()
@moments.objects
@packets.about_a_packet
@onbus.on_a_bus
@options.output("table")
def verdict(
    *,
    files: tuple[str, ...],
    sequence: int | None,
    at_ns: int | None,
    nats_url: str | None,
    name: str | None,
    output: str,
    **said: Any,
) -> None:
    """Show what happens to a packet, and which rule decides in each direction.

    Uses manifests (-f), or the present or past state of a running cluster or lab (--seq, --at). Without --http or
    --sni, a connection makes no request, so rules with l7Protocols allow none. Pods in manifests without a node or an
    address are assigned one, as in a lab. A packet to a Service, by name or by ClusterIP, reaches one of its endpoints;
    the answer covers each of them. Exits with 0 whatever the answer, with 2 on bad input.
    """
    from sluice.policy.ends import NoSuchEnd
    from sluice.policy.fate import fate

    packet = packets.packet(said)
    known = moments.known(files, nats_url, name, sequence, at_ns)
    try:
        found = fate(known.state, packet)
    except NoSuchEnd as error:
        options.refuse([str(error)])
    endpoints = _endpoints(found, known)
    answer = {**_asked(said), **known.when, **_told(known, found.outcome, found.verdict)}
    if endpoints is not None:
        answer["endpoints"] = endpoints
    if output == "json":
        options.echo_json(answer)
        return
    click.echo(f"{packets.words(said)}: {answer['outcome']}")
    if endpoints is None:
        click.echo(options.table(_rows(answer)))
    elif not endpoints:
        nothing = "no such port" if found.endpoints is None else "no endpoint"
        click.echo(f"  the Service has {nothing}")
    for one in endpoints or ():
        click.echo(f"  {one['address']} {one['port']}: {one['outcome']}")
        click.echo(options.table(_rows(one)))


def _endpoints(found: Any, known: moments.Known) -> list[dict[str, Any]] | None:  # Any: a Fate, imported lazily
    """The result for each endpoint; None if the packet is not sent to a Service."""
    from sluice.policy.packet import ServiceEnd

    if not isinstance(found.packet.destination, ServiceEnd):
        return None
    return [
        {
            "address": one.packet.destination.address,
            "port": one.packet.port,
            **_told(known, one.verdict.outcome, one.verdict),
        }
        for one in found.endpoints or ()
    ]


def _told(known: moments.Known, outcome: str, given: Any) -> dict[str, Any]:
    """The outcome, and what decides in each direction."""
    ways = (("egress", given and given.egress), ("ingress", given and given.ingress))
    return {
        "outcome": outcome,
        **{way: deciding.told(decision, known.where) if decision else None for way, decision in ways},
    }


def _rows(told: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [row for direction in ("egress", "ingress") for row in deciding.rows(direction, told[direction])]


def _asked(said: dict[str, Any]) -> dict[str, Any]:
    """What was asked, as repeated in the answer."""
    ends = {"from": said["source"], "to": said["destination"]}
    rest = {
        key: value
        for key, value in said.items()
        if key not in ("source", "destination", "family") and value is not None
    }
    return {**ends, **rest}
