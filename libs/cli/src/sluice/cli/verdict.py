"""`sluice verdict`: what happens to one packet, and which rule says so?"""

from typing import Any

import click

from sluice.cli import deciding, moments, onbus, options, packets

VARIES = "Varies"
"""The outcome to a Service whose endpoints fare differently."""


@click.command()
@moments.objects
@packets.about_a_packet
@onbus.on_a_bus
@options.output("table")
def verdict(
    *,
    files: tuple[str, ...],
    sequence: int | None,
    at: str | None,
    nats_url: str | None,
    name: str | None,
    output: str,
    **said: Any,
) -> None:
    """Say what happens to a packet, and which rule decides that in each direction.

    Asks manifests (-f), or a running cluster or lab as it is or was (--seq, --at). Without --http or --sni a connection
    asks nothing, and rules with l7Protocols allow none. Pods of manifests without a node or an address get one, as in a
    lab. What is sent to a Service, by name or by its ClusterIP, gets to one of its endpoints, and the answer is about
    each. Exits with 0 whatever the answer, with 2 on bad input.
    """
    from sluice.policy.behind import behind, meant
    from sluice.policy.ends import NoSuchEnd
    from sluice.policy.packet import ServiceEnd

    packet = packets.packet(said)
    known = moments.known(files, nats_url, name, sequence, at)
    endpoints = found = None
    try:
        packet = meant(known.state, packet)
        if isinstance(packet.destination, ServiceEnd):
            found = behind(known.state, packet, packet.destination)
            endpoints = [_at(one, known) for one in found or ()]
        given = _fate(endpoints) or _told(known, packet)
    except NoSuchEnd as error:
        options.refuse([str(error)])
    answer = {**_asked(said), **known.when, **given, **({} if endpoints is None else {"endpoints": endpoints})}
    if output == "json":
        options.echo_json(answer)
        return
    click.echo(f"{packets.words(said)}: {answer['outcome']}")
    if endpoints is None:
        click.echo(options.table(_rows(answer)))
    elif not endpoints:
        click.echo("  the Service has no endpoint" if found is not None else "  the Service has no such port")
    for one in endpoints or ():
        click.echo(f"  {one['address']} {one['port']}: {one['outcome']}")
        click.echo(options.table(_rows(one)))


def _at(packet: Any, known: moments.Known) -> dict[str, Any]:
    """What becomes of it if this endpoint of the Service gets it."""
    return {"address": packet.destination.address, "port": packet.port, **_told(known, packet)}


def _fate(endpoints: list[dict[str, Any]] | None) -> dict[str, Any] | None:
    """Of a packet to a Service, where it is not the same whichever endpoint gets it."""
    outcomes = {one["outcome"] for one in endpoints or ()}
    return {"outcome": VARIES, "egress": None, "ingress": None} if len(outcomes) > 1 else None


def _told(known: moments.Known, packet: Any) -> dict[str, Any]:
    """The verdict, and what decides in each direction.

    Raises:
        NoSuchEnd
    """
    from sluice.policy.verdict import verdict as judge

    given = judge(known.state, packet)
    ways = (("egress", given.egress), ("ingress", given.ingress))
    return {
        "outcome": given.outcome,
        **{way: deciding.told(decision, known.where) if decision else None for way, decision in ways},
    }


def _rows(told: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    return [row for direction in ("egress", "ingress") for row in deciding.rows(direction, told[direction])]


def _asked(said: dict[str, Any]) -> dict[str, Any]:
    """What was asked, as the answer repeats it."""
    ends = {"from": said["source"], "to": said["destination"]}
    rest = {
        key: value
        for key, value in said.items()
        if key not in ("source", "destination", "family") and value is not None
    }
    return {**ends, **rest}
