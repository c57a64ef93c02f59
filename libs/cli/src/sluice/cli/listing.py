"""What `sluice get` asks the API for: objects, groups, nodes and audit events."""

from typing import Any

import click

from sluice.cli import api, naming, options

_seq = click.option("--seq", type=click.IntRange(min=0), help="As it was after this entry of the ledger.")
_at = click.option("--at", metavar="TIME", help="As it was then: 2026-07-04T12:45:21Z.")


@click.command(name="objects")
@click.argument("kind", required=False)
@click.option("-n", "--namespace", metavar="NAME", help="Only what is in this Namespace.")
@_seq
@_at
@api.asks_the_api
@options.output("table", "yaml")
def objects(
    *, kind: str | None, namespace: str | None, seq: int | None, at: str | None, output: str, **where: Any
) -> None:
    """List objects as the cluster has or had them, with the entry of the ledger that each came by.

    KIND is as for kubectl: pods, netpol, acnp, annp, tiers. Exits with 0, or with 2 on bad input.
    """
    try:
        wanted = naming.kind_named(kind).value if kind else None
    except LookupError as error:
        options.refuse([str(error)])
    found = list(api.Api(**where).items("/v1/objects", kind=wanted, namespace=namespace, seq=seq, at=at))
    header = ("KIND", "NAMESPACE", "NAME", "REVISION", "SINCE")
    api.show(
        found,
        output,
        header,
        lambda one: (one["kind"], one["namespace"], one["name"], one["revision"].partition(".")[2], one["time"]),
    )


@click.command(name="groups")
@_seq
@_at
@api.asks_the_api
@options.output("table", "yaml")
def groups(*, seq: int | None, at: str | None, output: str, **where: Any) -> None:
    """List the groups that policies name, and the policies that apply to each."""
    found = api.Api(**where).get("/v1/groups", **_moment(seq, at))["items"]
    api.show(found, output, ("GROUP", "APPLIED"), lambda one: (one["group"], ", ".join(one["applied"]) or "-"))


@click.command(name="nodes")
@api.asks_the_api
@options.output("table", "yaml")
def nodes(*, output: str, **where: Any) -> None:
    """List what nodes say of themselves: what they have applied, and what is wrong."""
    found = api.Api(**where).get("/v1/nodes")["items"]
    api.show(found, output, ("NODE", "BACKEND", "HEALTHY", "APPLIED", "PODS", "PROBLEMS"), _node)


@click.command(name="audit")
@click.option("--since", metavar="TIME", help="2026-07-04T12:45:21Z.")
@click.option("--until", metavar="TIME")
@click.option("--node", metavar="NODE")
@click.option("--pod", metavar="NAMESPACE/POD", help="On either side.")
@click.option("--policy", metavar="UNIT", help="As acnps:_:deny.")
@click.option("--verdict", type=click.Choice(["Allow", "Drop", "Reject", "Pass", "Redirect"], case_sensitive=False))
@click.option("--limit", type=click.IntRange(1, 5_000), default=100, show_default=True)
@click.option("-w", "--watch", is_flag=True, help="Go on with what happens from now on.")
@api.asks_the_api
@options.output("table", "yaml")
def audit(
    *,
    since: str | None,
    until: str | None,
    limit: int,
    watch: bool,
    output: str,
    api: str | None,
    token: str | None,
    lab: str | None,
    **asked: Any,
) -> None:
    """List what nodes decided about connections, the newest first; with --watch the oldest first, as it goes on."""
    from sluice.cli.api import Api, show

    there = Api(api, token, lab)
    found = there.get("/v1/audit", since=since, until=until, limit=limit, **asked)["items"]
    header = ("TIME", "NODE", "VERDICT", "FROM", "TO", "POLICY")
    show(found[::-1] if watch else found, output, header, _event)
    if watch:
        _follow(there, asked, output)


def _follow(there: Any, asked: dict[str, Any], output: str) -> None:
    import msgspec

    with there.open("/v1/audit/follow", asked) as stream:
        for line in stream:
            if line.startswith(b"data: "):
                told = msgspec.json.decode(line.removeprefix(b"data: "))
                if "events" in told:
                    click.echo(
                        f"{told['events']} events were lost here: they came faster than they were read", err=True
                    )
                elif output == "table":
                    click.echo("  ".join(_event(told)))
                else:
                    click.echo(msgspec.json.encode(told))


def _event(one: dict[str, Any]) -> tuple[str, ...]:
    said = one["event"]
    if one["kind"] == "loss":
        return one["time"], one["node"], "LOST", "-", "-", said["reason"]
    ends = (one.get(f"{side}_pod") or f"{said.get(side, '-')}" for side in ("source", "destination"))
    port = f":{said['destination_port']}" if said.get("destination_port") else ""
    source, destination = ends
    return (
        one["time"],
        one["node"],
        one.get("verdict") or "-",
        source,
        f"{destination}{port}",
        said.get("policy") or "-",
    )


def _node(one: dict[str, Any]) -> tuple[str, ...]:
    problems = [problem["reason"] for problem in one.get("problems", ())]
    applied = one["applied"][1] if isinstance(one["applied"], list) else one["applied"]
    healthy = "yes" if one["healthy"] else f"no: {one.get('detail', '')}"
    return (
        one["node"],
        one["backend"],
        healthy,
        str(applied),
        str(len(one.get("ports", ()))),
        "; ".join(problems) or "-",
    )


def _moment(seq: int | None, at: str | None) -> dict[str, Any]:
    return {"seq": seq, "at": at}
