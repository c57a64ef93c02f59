"""`sluice bisect`: since which event does a connection work, or not?"""

from typing import Any

import click

from sluice.cli import deciding, moments, onbus, options, packets


@click.command()
@packets.about_a_packet
@click.option(
    "--since",
    type=moments.SequenceOrTime(),
    help=f"Where to begin: a ledger entry, or a time: {moments.FORMS}. Default: the oldest moment kept.",
)
@click.option("--until", type=moments.SequenceOrTime(), help="Where to end. Default: now.")
@onbus.on_a_bus
@options.output("table")
def bisect(
    since: moments.Moment | None,
    until: moments.Moment | None,
    nats_url: str | None,
    name: str | None,
    output: str,
    **said: Any,
) -> None:
    """Find the change after which a connection began or ceased to work.

    Asks a running cluster or lab. The outcome at --since must differ from that at --until; if it changed more than once
    in between, one of the changes is shown. Exits with 0, with 1 if nothing changed, with 2 on bad input.
    """
    import sys

    from sluice.policy.bisecting import NoTurn

    packet = packets.packet(said)
    try:
        epoch, turn, place = onbus.run(_found(onbus.url(nats_url, name), packet, since, until))
    except NoTurn as error:
        click.echo(str(error))
        sys.exit(1)
    before, after = (one.outcome if one else "impossible" for one in (turn.before, turn.after))
    if output == "json":
        answer = {"sequence": turn.entry.sequence, "epoch": epoch, "time": moments.written(turn.entry.time_ns)}
        options.echo_json({**answer, "object": _object(turn.entry), "change": place, "before": before, "after": after})
        return
    click.echo(f"{packets.words(said)}: {before} before, {after} since")
    click.echo(
        f"  revision {turn.entry.sequence}, {moments.written(turn.entry.time_ns)}: {_object(turn.entry)} {place}"
    )
    if turn.after and turn.after.verdict:
        sides = (("egress", turn.after.verdict.egress), ("ingress", turn.after.verdict.ingress))
        click.echo(options.table([row for side, decision in sides for row in _rows(side, decision)]))
    elif turn.after:  # the endpoints of a Service, whose results differ
        for one in turn.after.endpoints or ():
            click.echo(f"  {one.packet.destination.address} {one.packet.port}: {one.verdict.outcome}")


def _rows(direction: str, decision: Any) -> Any:
    return deciding.rows(direction, deciding.told(decision, lambda _, __: {}) if decision else None)


async def _found(url: str, packet: Any, since: moments.Moment | None, until: moments.Moment | None) -> Any:
    from sluice.policy.bisecting import bisect as find
    from sluice.runtime import past

    async with onbus.connected(url) as bus:
        there = await past.reach(bus)
        begin = await _sequence(bus, since)
        begun = await moments.moment_of(bus, await _oldest(bus, there) if begin is None else begin, None)
        end = await _sequence(bus, until)
        told = await past.entries(bus, there.epoch, begun.sequence, there.last if end is None else end)
    turn = find(begun.held, told, packet)
    known = turn.entry.subject in begun.held.held or any(
        one.subject == turn.entry.subject and one.body for one in told if one.sequence < turn.entry.sequence
    )
    return there.epoch, turn, "was deleted" if not turn.entry.body else "was changed" if known else "was created"


async def _sequence(bus: Any, given: moments.Moment | None) -> int | None:
    from sluice.ledger.history import TooOld
    from sluice.runtime import past

    if given is None or given.at_ns is None:
        return given.sequence if given else None
    try:
        return await past.sequence_at(bus, given.at_ns)
    except TooOld as error:
        options.refuse([str(error)])


async def _oldest(bus: Any, there: Any) -> int:
    """The oldest moment that can be reconstructed."""
    from sluice.runtime import past

    if there.first == 1:
        return 0
    return min((one.last for one in await past.checkpoints(bus, there.epoch) if one.last >= there.first - 1), default=0)


def _object(entry: Any) -> str:
    from sluice.contracts import subjects
    from sluice.contracts.kinds import RESOURCES

    subject: Any = subjects.parse(entry.subject)
    return f"{RESOURCES[subject.kind].kind} {'/'.join(filter(None, (subject.namespace, subject.name)))}"
