"""`sluice ledger`: whether the past is what it was."""

import sys
from typing import Any

import click

from sluice.cli import onbus, options

BROKEN = 1


@click.group()
def ledger() -> None:
    """Look after the record of every version of every object."""


@ledger.command()
@onbus.on_a_bus
@options.output("table")
def verify(nats_url: str | None, name: str | None, output: str) -> None:
    """Hold every entry of the ledger against the checkpoints that vouch for it.

    Tells each entry that was altered, is missing or stands in another place, and each checkpoint that was changed.
    Entries since the last checkpoint have nothing that vouches for them yet. Write the head down elsewhere: whoever
    rewrites the ledger and all its checkpoints is found by a head that he could not change. Exits with 0 if all is as
    it was, with 1 if not, with 2 if it cannot be read.
    """
    found = onbus.run(_verified(onbus.url(nats_url, name)))
    if output == "json":
        findings = [{"sequence": one.sequence, "fault": one.fault, "says": one.says} for one in found.findings]
        covered = {"checked": found.checked, "uncovered": found.uncovered, "head": found.head}
        options.echo_json({**covered, "findings": findings})
    else:
        for one in found.findings:
            click.echo(f"{one.sequence}: {one.fault}: {one.says}")
        click.echo(
            f"{found.checked} entries are vouched for, {found.uncovered} since the last checkpoint are not yet; "
            f"{len(found.findings) or 'no'} fault{'' if len(found.findings) == 1 else 's'}"
        )
        click.echo(f"head {found.head}")
    sys.exit(BROKEN if found.findings else 0)


async def _verified(url: str) -> Any:  # Any: a Verified, which is imported late
    from sluice.contracts.codec import Undecodable
    from sluice.runtime import past
    from sluice.runtime.streams import Missing

    async with await onbus.connected(url) as bus:
        try:
            return await past.verified(bus)
        except Missing as error:
            raise onbus.NoBus(f"{error}; is this the bus of Sluice?") from None
        except Undecodable as error:
            options.refuse([f"a checkpoint cannot be read: {error}"])
