"""`sluice ledger`: verifies that the past was not altered, and exports and imports it as a file."""

import sys
from pathlib import Path
from typing import Any

import click

from sluice.cli import onbus, options

BROKEN = 1


@click.group()
def ledger() -> None:
    """Export, verify and import the record of every version of every object."""


@ledger.command()
@click.option(
    "-f",
    "--filename",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Verify a file made by `export`.",
)
@onbus.on_a_bus
@options.output("table")
def verify(file: Path | None, nats_url: str | None, name: str | None, output: str) -> None:
    """Check every entry of the ledger against the checkpoints that vouch for it.

    Checks a running bus, or a file made by `export`. Reports each entry that was altered, removed or moved, and each
    checkpoint that was changed. Entries after the last checkpoint cannot be checked yet (in a file, its own hash chain
    covers them). Keep the head somewhere else: it exposes an attacker who rewrites the ledger and all its checkpoints.
    Exits with 0 if all is intact, with 1 if not, with 2 if it cannot be read.
    """
    if file and (nats_url or name):
        raise click.UsageError("-f: a file has no bus; leave out -f, or --nats-url and --name")
    found = _of_file(file) if file else onbus.run(_verified(onbus.url(nats_url, name)))
    if output == "json":
        findings = [{"sequence": one.sequence, "fault": one.fault, "says": one.says} for one in found.findings]
        covered = {"checked": found.checked, "uncovered": found.uncovered, "head": found.head}
        options.echo_json({**covered, "findings": findings})
    else:
        _show(found)
    sys.exit(BROKEN if found.findings else 0)


@ledger.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@onbus.on_a_bus
def export(file: Path, nats_url: str | None, name: str | None) -> None:
    """Write the whole ledger into FILE, with the checkpoints that vouch for it.

    One line of JSON per entry: its sequence, time, subject, the object, and the head of the hash chain up to it. Check
    the file with `ledger verify -f FILE`, restore it with `ledger import FILE`. If the name of FILE ends with .gz, the
    file is compressed; - is standard output. Exits with 0, or with 2 if there is no ledger.
    """
    made = onbus.run(_exported(onbus.url(nats_url, name), file))
    click.echo(f"{made.entries} entries\nhead {made.head.hex()}", err=str(file) == "-")


@ledger.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--damaged", is_flag=True, help="Import even if `ledger verify` finds faults.")
@onbus.on_a_bus
def import_(file: Path, nats_url: str | None, name: str | None, *, damaged: bool) -> None:
    """Import the ledger in FILE into a bus that has none, with its original sequences and times.

    Stop all services of Sluice before, and start them afterwards: they then adopt the imported ledger. Entries age out
    from the time of the import. Exits with 0, with 1 if the file has faults, with 2 on bad input or if the bus has a
    ledger.
    """
    found = _of_file(file)
    if found.findings:
        _show(found)
        if not damaged:
            sys.exit(BROKEN)
    count = onbus.run(_imported(onbus.url(nats_url, name), file))
    click.echo(f"{count} entries\nhead {found.head}")


def _show(found: Any) -> None:
    for one in found.findings:
        click.echo(f"{one.sequence}: {one.fault}: {one.says}")
    click.echo(
        f"{found.checked} entries are covered by checkpoints, {found.uncovered} newer ones are not yet; "
        f"{len(found.findings) or 'no'} fault{'' if len(found.findings) == 1 else 's'}"
    )
    click.echo(f"head {found.head}")


def _of_file(file: Path) -> Any:  # Any: a Verified, which is imported lazily
    from sluice.cli import recording
    from sluice.ledger.record import BadRecord

    try:
        with recording.read(file) as record:
            return record.verified()
    except (BadRecord, OSError) as error:
        options.refuse([f"{file}: {error}"])


async def _verified(url: str) -> Any:  # Any: a Verified, which is imported lazily
    from sluice.contracts.codec import Undecodable
    from sluice.runtime import past

    async with onbus.connected(url) as bus:
        try:
            return await past.verified(bus)
        except Undecodable as error:
            options.refuse([f"a checkpoint cannot be read: {error}"])


async def _exported(url: str, file: Path) -> Any:  # Any: a Writer, which is imported lazily
    from sluice.cli import recording
    from sluice.contracts.codec import Undecodable
    from sluice.ledger.state import BadState
    from sluice.runtime import records

    async with onbus.connected(url) as bus:
        try:
            with recording.written(file) as opened:
                return await records.export(bus, opened.write)
        except (BadState, Undecodable, OSError) as error:
            options.refuse([f"{file}: not written: {error}"])


async def _imported(url: str, file: Path) -> int:
    from sluice.cli import recording
    from sluice.ledger.record import BadRecord
    from sluice.runtime import records

    async with onbus.connected(url) as bus:
        try:
            with recording.read(file) as record:
                return await records.restore(bus, record)
        except (records.NotEmpty, records.NotRestored, BadRecord, OSError) as error:
            options.refuse([str(error)])
