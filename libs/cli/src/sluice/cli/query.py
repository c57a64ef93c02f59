"""`sluice query`: questions about one thing."""

from typing import Any

import click

from sluice.cli import api, options


@click.group()
def query() -> None:
    """Ask about a single object."""


@query.command()
@click.argument("pod", metavar="NAMESPACE/POD")
@click.option("--seq", type=click.IntRange(min=0), help="The state after this ledger entry.")
@click.option("--at", metavar="TIME", help="The state at this time, such as 2026-07-04T12:45:21Z.")
@api.asks_the_api
@options.output("table", "yaml")
def endpoint(*, pod: str, seq: int | None, at: str | None, output: str, **where: Any) -> None:
    """Show which policies apply to a Pod, which isolate it, and which rules name it as a peer."""
    namespace, _, name = pod.rpartition("/")
    found = api.Api(**where).get(f"/v1/pods/{namespace or 'default'}/{name}", seq=seq, at=at)
    if output != "table":
        api.show([found], output, (), lambda _: ())
        return
    click.echo(
        f"{found['namespace']}/{found['name']} on {found['node']}, {', '.join(found['addresses']) or 'no address'}"
    )
    rows = [("  applied", _origin(one), "") for one in found["applied"]]
    rows += [("  isolated by", _origin(one), "") for one in found["isolated_by"]]
    rows += [
        ("  peer of", _origin(one["origin"]), f"{one['direction']} rule {one['index']}, {one['action']}")
        for one in found["peer_of"]
    ]
    click.echo(options.table(rows) if rows else "  no policy applies to it")


def _origin(origin: dict[str, Any]) -> str:
    from sluice.contracts.kinds import RESOURCES, Kind

    return f"{RESOURCES[Kind(origin['kind'])].kind} {'/'.join(filter(None, (origin['namespace'], origin['name'])))}"
