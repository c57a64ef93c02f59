"""`sluice rollback`: what people wrote, put back to what it was."""

import sys
from pathlib import Path
from typing import Any

import click

from sluice.cli import differing, moments, onbus, options

DIFFERENT = 1


@click.command()
@click.option(
    "--to", "target", required=True, metavar="SEQ|TIME", help="The moment: an entry of the ledger, or a time."
)
@click.option(
    "--folder", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Write into these manifests."
)
@click.option("--yes", is_flag=True, help="Write without being asked.")
@onbus.on_a_bus
@click.option("-o", "--output", type=click.Choice(["table", "yaml"]), default="table", show_default=True)
def rollback(
    *, target: str, folder: Path | None, yes: bool, nats_url: str | None, name: str | None, output: str
) -> None:
    """Show what would go back to what it was, and write it as new manifests.

    Policies, tiers, groups, TrafficControls and networks: what people write; Pods and Nodes are what they are. With -o
    yaml the old objects are printed, for `kubectl apply -f -`, and the deletions as comments. With --folder they are
    written into the manifests that ingest reads, document by document. Exits with 0 if nothing differs or it was
    written, with 1 if something differs and was only shown, with 2 on bad input.
    """
    now, then = onbus.run(_moments(onbus.url(nats_url, name), target))
    wanted = _wanted(now, then)
    if output == "yaml":
        _print(wanted)
        return
    if not wanted:
        click.echo("nothing differs")
        return
    for key, body in sorted(wanted.items()):
        way = "delete" if not body else "restore" if _subject(key) in now.held.held else "create"
        click.echo(f"{way:8} {_title(key)}")
    before, after = _states(now, wanted)
    for line in differing.lines(differing.compared(before, after)):
        click.echo(line)
    if folder is None:
        sys.exit(DIFFERENT)
    _write(folder, wanted, yes=yes)


def _write(folder: Path, wanted: dict[Any, bytes], *, yes: bool) -> None:
    from sluice.cli import restoring

    try:
        changes = restoring.edits(folder, wanted)
    except restoring.NotRestorable as error:
        options.refuse([str(error)])
    if not yes and not click.confirm(f"write {len(changes)} files in {folder}?"):
        sys.exit(DIFFERENT)
    restoring.write(changes)
    for file, text in changes:
        click.echo(f"{'wrote' if text is not None else 'removed'} {file}")


async def _moments(url: str, target: str) -> tuple[Any, Any]:
    async with await onbus.connected(url) as bus:
        sequence, at = (int(target), None) if target.isdigit() else (None, target)
        return await moments.moment_of(bus, None, None), await moments.moment_of(bus, sequence, at)


def _wanted(now: Any, then: Any) -> dict[Any, bytes]:
    """The objects that people write and that differ, and what they were; empty: they were not there."""
    from sluice.contracts import subjects
    from sluice.contracts.kinds import RESOURCES
    from sluice.grouping.events import ObjectKey

    found = {}
    for subject in now.held.held.keys() | then.held.held.keys():
        parsed = subjects.parse(subject)
        if isinstance(parsed, subjects.ObjectSubject) and RESOURCES[parsed.kind].written:
            is_, was = (one.held.held.get(subject) for one in (now, then))
            if (is_ and is_.body) != (was and was.body):
                found[ObjectKey(*parsed)] = was.body if was else b""
    return found


def _states(now: Any, wanted: dict[Any, bytes]) -> tuple[Any, Any]:
    from itertools import count

    from sluice.contracts.ids import Revision
    from sluice.grouping.events import read
    from sluice.policy.past import cluster

    before, after = (cluster(now.held, now.epoch) for _ in range(2))
    numbers = count(now.sequence + 1)
    for key, body in wanted.items():
        after.evolve(read(key, body, Revision(now.epoch, next(numbers))))
    return before, after


def _print(wanted: dict[Any, bytes]) -> None:
    from sluice.cli.restoring import manifest

    for key, body in sorted(wanted.items()):
        click.echo(f"---\n{manifest(body)}" if body else f"# delete {_title(key)}")


def _subject(key: Any) -> str:
    from sluice.contracts import subjects

    return subjects.object_(*key)


def _title(key: Any) -> str:
    from sluice.contracts.kinds import RESOURCES

    return f"{RESOURCES[key.kind].kind} {'/'.join(filter(None, (key.namespace, key.name)))}"
