"""`sluice diff`: what differs in programs and in who reaches whom?"""

import sys

import click

from sluice.cli import differing, moments, onbus, options

DIFFERENT = 1


@click.command()
@click.argument("folders", nargs=-1, metavar="[OLD NEW]")
@click.option("--seq", "span", metavar="A..B", help="Two ledger entries. B defaults to now.")
@onbus.on_a_bus
@options.output("table")
def diff(folders: tuple[str, ...], span: str | None, nats_url: str | None, name: str | None, output: str) -> None:
    """Compare two states of a cluster: what the nodes hold, and who reaches whom on which ports.

    Compares manifests (two files or folders), or two ledger sequences of a running cluster or lab. Exits with 0 if
    nothing differs, with 1 if something does, with 2 on bad input.
    """
    if bool(folders) == bool(span) or len(folders) not in (0, 2):
        raise click.UsageError("name two folders of manifests, OLD and NEW, or two moments by --seq A..B")
    if folders:
        before, after = (moments.of_files((folder,)) for folder in folders)
    else:
        first, dots, last = (span or "").partition("..")
        if not first.isdigit() or not dots or (last and not last.isdigit()):
            raise click.BadParameter(f"{span!r} is not A..B; write two sequences, as 1200..1250", param_hint="--seq")
        url = onbus.url(nats_url, name)
        before = moments.of_moment(onbus.run(moments.moment(url, int(first), None)))
        after = moments.of_moment(onbus.run(moments.moment(url, int(last) if last else None, None)))
    found = differing.compared(before.state, after.state)
    if output == "json":
        options.echo_json(found)
    else:
        for line in differing.lines(found):
            click.echo(line)
    sys.exit(0 if differing.is_same(found) else DIFFERENT)
