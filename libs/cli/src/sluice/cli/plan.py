"""`sluice plan`: what would change if these manifests were applied?"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

import click

from sluice.cli import differing, moments, naming, onbus, options
from sluice.cli.naming import Target

DIFFERENT = 1


@click.command()
@click.option("-f", "--filename", "files", multiple=True, metavar="PATH", help="Manifests to apply. May be repeated.")
@click.option("--delete", "deleted", multiple=True, type=Target(), help="An object to delete. May be repeated.")
@click.option("-n", "--namespace", metavar="NAME", help="Namespace of the objects to delete. Default: default.")
@click.option("--against", multiple=True, metavar="PATH", help="Manifests with the current state. Default: ask a bus.")
@click.option(
    "--log",
    "logs",
    multiple=True,
    metavar="FILE",
    help="An np.log with recorded connections. On a bus, AUDIT is read as well.",
)
@onbus.on_a_bus
@options.output("table")
def plan(
    *,
    files: tuple[str, ...],
    deleted: tuple[Any, ...],
    namespace: str | None,
    against: tuple[str, ...],
    logs: tuple[str, ...],
    nats_url: str | None,
    name: str | None,
    output: str,
) -> None:
    """Show what would change if manifests were applied, without applying them.

    Shows what nodes would hold, who would reach whom, and which of the recorded connections would be denied or allowed
    from then on. Exits with 0 if nothing would change, with 1 if something would, with 2 on bad input.
    """
    from sluice.policy import whatif

    if not files and not deleted:
        raise click.UsageError("-f or --delete: name what is to change")
    recorded = list(_logged(logs))
    gone = {one.key(namespace): one.written for one in deleted}
    if against:
        before, after = _offline(against, files, gone)
    else:
        there, audited = onbus.run(_asked(onbus.url(nats_url, name)))
        before, after = on_top(there, files, gone)
        recorded += audited
    found = differing.compared(before, after)
    changed = [_connection(one) for one in whatif.verdicts(before, after, whatif.recorded(recorded))]
    if output == "json":
        options.echo_json({**found, "connections": changed, "recorded": len(recorded)})
    else:
        for line in differing.lines(found):
            click.echo(line)
        click.echo(f"recorded connections: {len(changed)} of {len(recorded)} log entries would have another outcome")
        if changed:
            click.echo(options.table([_row(one) for one in changed]))
    sys.exit(0 if differing.is_same(found) and not changed else DIFFERENT)


def _offline(against: tuple[str, ...], files: tuple[str, ...], deleted: Mapping[Any, str]) -> tuple[Any, Any]:
    from sluice.cli.loading import load_all
    from sluice.cli.placing import placed
    from sluice.policy.state import ClusterState

    def key(document: Any) -> tuple[str, ...]:
        return (document.kind, *document.object.key)

    there = {key(document): document for document in load_all(against)}
    then = {**there, **{key(document): document for document in load_all(files)}} if files else dict(there)
    for gone, written in deleted.items():
        if then.pop(tuple(gone), None) is None:
            where = f"among the manifests of --against {', '.join(against)}"
            options.refuse([naming.absent(f"--delete {written}", gone, where, there)])
    worlds = (placed(list(documents.values())) for documents in (there, then))
    before, after = (ClusterState(document.object for document in world.objects.values()) for world in worlds)
    return before, after


def on_top(there: Any, files: tuple[str, ...], deleted: Mapping[Any, str]) -> tuple[Any, Any]:
    """The state of a bus, and the same with the changes; `deleted` maps keys to what the user wrote."""
    from sluice.cli.loading import load_all
    from sluice.contracts import subjects
    from sluice.contracts.ids import Revision
    from sluice.policy.past import cluster

    before, after = (cluster(there.held, there.epoch) for _ in range(2))
    numbers = count(there.sequence + 1)
    for document in load_all(files) if files else ():
        after.put(document.object, Revision(there.epoch, next(numbers)))
    for gone, written in deleted.items():
        if subjects.object_(*gone) not in there.held.held:
            found = (subjects.known(subject) for subject in there.held.held)
            keys = (tuple(one) for one in found if isinstance(one, subjects.ObjectSubject))
            options.refuse([naming.absent(f"--delete {written}", gone, "on the bus", keys)])
        after.delete(gone.kind, gone.namespace, gone.name, Revision(there.epoch, next(numbers)))
    return before, after


def _logged(logs: Iterable[str]) -> Iterator[Any]:
    from sluice.contracts.audit import Loss
    from sluice.dataplane.audit import np_line

    for log in logs:
        try:
            told = Path(log).read_text()
        except (OSError, UnicodeDecodeError) as error:
            options.refuse([f"{log}: it cannot be read: {error}"])
        for number, line in enumerate(told.splitlines(), start=1):
            try:
                said = np_line.read(line)
            except np_line.NotALine as error:
                options.refuse([f"{log}:{number}: not a line of np.log: {error}"])
            if not isinstance(said, Loss):
                yield said


async def _asked(url: str) -> tuple[Any, list[Any]]:
    from sluice.contracts.audit import FlowDecision
    from sluice.runtime import past

    async with onbus.connected(url) as bus:
        there = await moments.moment_of(bus, None, None)
        audited = [event for event in await past.audited(bus) if isinstance(event, FlowDecision)]
    return there, audited


def _connection(one: Any) -> dict[str, Any]:
    packet = one.connection.packet
    before, after = (str(given.outcome) if given else "impossible" for given in (one.before, one.after))
    return {
        "source": packet.source.address,
        "destination": packet.destination.address,
        "protocol": packet.protocol,
        "port": packet.port,
        "times": one.connection.times,
        "before": before,
        "after": after,
    }


def _row(one: dict[str, Any]) -> tuple[str, str, str, str]:
    port = f" {one['port']}" if one["port"] else ""
    way = f"{one['source']} -> {one['destination']}"
    return "  now " + one["after"], way, f"{one['protocol']}{port}", f"was {one['before']}, {one['times']} times"
