"""The `sluice get` commands that use the API: objects, groups, nodes and audit events."""

from typing import Any

import click

from sluice.cli import api, naming, options, watching

_seq = click.option("--seq", type=click.IntRange(min=0), help="The state after this ledger entry.")
_at = click.option("--at", metavar="TIME", help="The state at this time, such as 2026-07-04T12:45:21Z.")


@click.command(name="objects")
@click.argument("kind", required=False)
@click.option("-n", "--namespace", metavar="NAME", help="Only objects of this Namespace.")
@_seq
@_at
@watching.flag
@api.asks_the_api
@options.output("table", "yaml")
def objects(
    *,
    kind: str | None,
    namespace: str | None,
    seq: int | None,
    at: str | None,
    watch: bool,
    output: str,
    **where: Any,
) -> None:
    """List objects as they are or were, with the ledger entry that last changed each.

    KIND is as for kubectl: pods, netpol, acnp, annp, tiers. Exits with 0, or with 2 on bad input.
    """
    try:
        wanted = naming.kind_named(kind).value if kind else None
    except LookupError as error:
        options.refuse([str(error)])
    there = api.Api(**where)
    shown = watching.Listing(
        ("KIND", "NAMESPACE", "NAME", "REVISION", "SINCE"),
        lambda one: (one["kind"], one["namespace"], one["name"], one["revision"].partition(".")[2], one["time"]),
        lambda one: (one["kind"], one["namespace"], one["name"]),
    )
    asked = {"kind": wanted, "namespace": namespace, **_moment(seq, at)}
    shown.show(lambda: there.all("/v1/objects", **asked), output, watch=_goes_on(watch, asked))


_POLICY = ("KIND", "NAMESPACE", "NAME", "TIER", "PRIORITY", "RULES", "PHASE", "NODES", "SESSIONS", "PACKETS")


@click.command(name="policies")
@click.option("-n", "--namespace", metavar="NAME", help="Only policies of this Namespace.")
@_seq
@_at
@watching.flag
@api.asks_the_api
@options.output("table", "wide", "yaml")
def policies(*, namespace: str | None, seq: int | None, at: str | None, watch: bool, output: str, **where: Any) -> None:
    """List policies in the order of enforcement, with their status and the number of their decisions.

    SESSIONS counts allowed connections and denied packets, updated every 10 s. -o wide adds probable mistakes, as found
    by `sluice lint`. Exits with 0, or with 2 on bad input.
    """
    there, wide = api.Api(**where), output == "wide"
    asked = {"namespace": namespace, **_moment(seq, at)}
    shown = watching.Listing(
        (*_POLICY, *(("BYTES", "WARNING") if wide else ()), "WHY"),
        lambda one: _policy(one, wide=wide),
        lambda one: (one["kind"], one["namespace"], one["name"]),
    )
    shown.show(lambda: there.all("/v1/policies", **asked), output, watch=_goes_on(watch, asked))


def _policy(one: dict[str, Any], *, wide: bool) -> tuple[str, ...]:
    counted = one.get("counted") or {}
    tier, priority = one.get("tier_priority"), one.get("priority")
    return (
        *(one["kind"], one["namespace"] or "-", one["name"]),
        "-" if tier is None else str(tier),
        "-" if priority is None else f"{priority:g}",
        str(one["rules"]),
        one.get("phase") or "-",
        one.get("nodes") or "-",
        *(str(counted.get(name, "-")) for name in ("sessions", "packets")),
        *((str(counted.get("bytes", "-")), one.get("warning") or "-") if wide else ()),
        one.get("why") or "-",
    )


@click.command(name="groups")
@_seq
@_at
@watching.flag
@api.asks_the_api
@options.output("table", "yaml")
def groups(*, seq: int | None, at: str | None, watch: bool, output: str, **where: Any) -> None:
    """List the groups that policies name, and the policies that apply to each."""
    there, asked = api.Api(**where), _moment(seq, at)
    shown = watching.Listing(
        ("GROUP", "APPLIED"),
        lambda one: (one["group"], ", ".join(one["applied"]) or "-"),
        lambda one: one["group"],
    )
    shown.show(lambda: there.all("/v1/groups", **asked), output, watch=_goes_on(watch, asked))


@click.command(name="nodes")
@watching.flag
@api.asks_the_api
@options.output("table", "yaml")
def nodes(*, watch: bool, output: str, **where: Any) -> None:
    """List what nodes report about themselves: what they have applied, and what is wrong."""
    there = api.Api(**where)
    shown = watching.Listing(
        ("NODE", "BACKEND", "HEALTHY", "APPLIED", "PODS", "PROBLEMS"),
        _node,
        lambda one: (one["node"], one["backend"]),
    )
    shown.show(lambda: there.all("/v1/nodes"), output, watch=watch)


@click.command(name="audit")
@click.option("--since", metavar="TIME", help="Only later decisions, such as 2026-07-04T12:45:21Z.")
@click.option("--until", metavar="TIME")
@click.option("--node", metavar="NODE")
@click.option("--pod", metavar="NAMESPACE/POD", help="Only connections from or to this Pod.")
@click.option("--policy", metavar="UNIT", help="Only decisions of this policy, such as acnps:_:deny.")
@click.option("--verdict", type=click.Choice(["Allow", "Drop", "Reject", "Pass", "Redirect"], case_sensitive=False))
@click.option("--limit", type=click.IntRange(1, 5_000), default=100, show_default=True)
@click.option("-w", "--watch", is_flag=True, help="Continue with new decisions as they are made.")
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
    """List what nodes decided about connections, newest first; with --watch, oldest first."""
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


def _goes_on(watch: bool, asked: dict[str, Any]) -> bool:  # noqa: FBT001  # as the option gives it
    if watch and (asked.get("seq") is not None or asked.get("at") is not None):
        raise click.UsageError("--watch: the past does not change; leave out --seq and --at")
    return watch


def _moment(seq: int | None, at: str | None) -> dict[str, Any]:
    return {"seq": seq, "at": at}
