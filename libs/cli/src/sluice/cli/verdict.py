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
    at: str | None,
    nats_url: str | None,
    name: str | None,
    output: str,
    **said: Any,
) -> None:
    """Say what happens to a packet, and which rule decides that in each direction.

    Asks manifests (-f), or a running cluster or lab as it is or was (--seq, --at). Without --http or --sni a connection
    asks nothing, and rules with l7Protocols allow none. Pods of manifests without a node or an address get one, as in a
    lab. Exits with 0 whatever the answer, with 2 on bad input.
    """
    from sluice.policy.ends import NoSuchEnd
    from sluice.policy.verdict import verdict as judge

    packet = packets.packet(said)
    known = moments.known(files, nats_url, name, sequence, at)
    try:
        given = judge(known.state, packet)
    except NoSuchEnd as error:
        options.refuse([str(error)])
    answer = {**_asked(said), **known.when, "outcome": given.outcome}
    for direction, decision in (("egress", given.egress), ("ingress", given.ingress)):
        answer[direction] = deciding.told(decision, known.where) if decision else None
    if output == "json":
        options.echo_json(answer)
    else:
        click.echo(f"{packets.words(said)}: {given.outcome}")
        rows = [row for direction in ("egress", "ingress") for row in deciding.rows(direction, answer[direction])]
        click.echo(options.table(rows))


def _asked(said: dict[str, Any]) -> dict[str, Any]:
    """What was asked, as the answer repeats it."""
    ends = {"from": said["source"], "to": said["destination"]}
    rest = {
        key: value
        for key, value in said.items()
        if key not in ("source", "destination", "family") and value is not None
    }
    return {**ends, **rest}
