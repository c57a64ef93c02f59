"""`sluice rollback`: restores what people wrote to an earlier state."""

import sys
from pathlib import Path
from typing import Any

import click

from sluice.cli import differing, moments, onbus, options
from sluice.cli.api import Api, at_the_api

DIFFERENT = 1


@click.command()
@click.option(
    "--to",
    "target",
    required=True,
    type=moments.SequenceOrTime(),
    help=f"The moment to go back to: a ledger entry, or a time: {moments.FORMS}.",
)
@click.option(
    "--folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Write the old objects into the manifests of this folder.",
)
@click.option(
    "--apply", "through_api", is_flag=True, help="Restore the objects in the cluster or the lab, through the API."
)
@at_the_api
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@onbus.on_a_bus
@click.option("-o", "--output", type=click.Choice(["table", "yaml"]), default="table", show_default=True)
def rollback(
    *,
    target: moments.Moment,
    folder: Path | None,
    through_api: bool,
    api: str | None,
    token: str | None,
    yes: bool,
    nats_url: str | None,
    name: str | None,
    output: str,
) -> None:
    """Show which objects would be restored to an earlier state, and restore them.

    Covers what people write: policies, tiers, groups, TrafficControls and networks; Pods and Nodes are not affected.
    With -o yaml, prints the old objects for `kubectl apply -f -`, and deletions as comments. With --folder, writes them
    into the manifests that ingest reads, document by document. With --apply, asks the API to change each object; an
    object that has changed since it was shown is left alone. Exits with 0 if nothing differs or it was written, with 1
    if something differs and was only shown, with 2 on bad input or if the API refuses a change.
    """
    if folder and through_api:
        raise click.UsageError("--folder and --apply: the API's ingest writes into its own folder; leave one out")
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
    if through_api:
        _apply(Api(api, token, name), now, wanted, target.said, yes=yes)
    elif folder:
        _write(folder, wanted, yes=yes)
    else:
        sys.exit(DIFFERENT)


def _apply(there: Api, now: Any, wanted: dict[Any, bytes], target: str, *, yes: bool) -> None:
    """Change each object through the API: prerequisites first, and deletions last in the opposite order."""
    from urllib.parse import urlencode

    from sluice.kube.editing import written

    if not yes and not click.confirm(f"change {len(wanted)} objects at {there.url}?"):
        sys.exit(DIFFERENT)
    reason = urlencode({"reason": f"rollback to {target}"})
    puts = sorted((key for key, body in wanted.items() if body), key=_order)
    gone = sorted((key for key, body in wanted.items() if not body), key=_order, reverse=True)
    for key in (*puts, *gone):
        held = now.held.held.get(_subject(key))
        expected = {"If-Match": f'"{now.epoch}.{held.sequence}"'} if held else {"If-None-Match": "*"}
        path = f"/v1/objects/{key.kind}/{key.namespace or '_'}/{key.name}?{reason}"
        body = wanted[key]
        there.send("PUT" if body else "DELETE", path, written(body) if body else None, expected)
        click.echo(f"{'wrote' if body else 'removed'} {_title(key)}")


def _order(key: Any) -> tuple[bool, Any]:
    """Tiers and groups come before the objects that refer to them."""
    from sluice.contracts.kinds import Kind

    return key.kind not in (Kind.TIER, Kind.GROUP, Kind.CLUSTER_GROUP, Kind.NETWORK_ATTACHMENT), key


def _write(folder: Path, wanted: dict[Any, bytes], *, yes: bool) -> None:
    from sluice.cli import restoring

    try:
        changes = restoring.edits(folder, wanted)
    except restoring.NotEditable as error:
        options.refuse([str(error)])
    if not yes and not click.confirm(f"write {len(changes)} files in {folder}?"):
        sys.exit(DIFFERENT)
    restoring.write(changes)
    for file, text in changes:
        click.echo(f"{'wrote' if text is not None else 'removed'} {file}")


async def _moments(url: str, target: moments.Moment) -> tuple[Any, Any]:
    async with onbus.connected(url) as bus:
        return await moments.moment_of(bus, None, None), await moments.moment_of(bus, target.sequence, target.at_ns)


def _wanted(now: Any, then: Any) -> dict[Any, bytes]:
    """User-written objects that differ, in their earlier form; empty if they did not exist."""
    from sluice.contracts import subjects
    from sluice.contracts.kinds import RESOURCES
    from sluice.kube.editing import same

    found = {}
    for subject in now.held.held.keys() | then.held.held.keys():
        parsed = subjects.parse(subject)
        if isinstance(parsed, subjects.ObjectSubject) and RESOURCES[parsed.kind].written:
            is_, was = (one.held.held.get(subject) for one in (now, then))
            if not same(is_.body if is_ else b"", was.body if was else b""):
                found[parsed] = was.body if was else b""
    return found


def _states(now: Any, wanted: dict[Any, bytes]) -> tuple[Any, Any]:
    from itertools import count

    from sluice.contracts.ids import Revision
    from sluice.grouping.events import ObjectKey, read
    from sluice.policy.past import cluster

    before, after = (cluster(now.held, now.epoch) for _ in range(2))
    numbers = count(now.sequence + 1)
    for key, body in wanted.items():
        after.evolve(read(ObjectKey(*key), body, Revision(now.epoch, next(numbers))))
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
