"""`sluice get trafficcontrols`: what each one does, where it is in force, and for how many packets."""

from typing import Any

import click

from sluice.cli import onbus, options, watching


@click.command(name="trafficcontrols")
@click.argument("names", nargs=-1)
@watching.flag
@onbus.on_a_bus
@options.output("table", "yaml")
def traffic_controls(
    *, names: tuple[str, ...], watch: bool, nats_url: str | None, name: str | None, output: str
) -> None:
    """List TrafficControls, where they are in force, and what they did to how many packets.

    Packets are counted every 10 s, since each node's programmer started. Exits with 0, or with 2 on bad input.
    """
    url = onbus.url(nats_url, name)

    def fetch() -> list[dict[str, Any]]:
        found = onbus.run(_asked(url))
        if missing := sorted(set(names) - {one["name"] for one in found}):
            options.refuse([f"TrafficControl {one}: no such object on the bus" for one in missing])
        return [one for one in found if not names or one["name"] in names]

    header = ("NAME", "ACTION", "DIRECTION", "TARGET", "RETURN", "NODES", "PHASE", "MIRRORED", "REDIRECTED", "DROPPED")
    shown = watching.Listing((*header, "WHY"), _cells, lambda one: one["name"], named="trafficControls")
    shown.show(fetch, output, watch=watch)


async def _asked(url: str) -> list[dict[str, Any]]:
    import asyncio
    from contextlib import aclosing

    from sluice.contracts.traffic_control import TrafficControl
    from sluice.grouping.events import key_of
    from sluice.policy.realisation.answer import answers
    from sluice.runtime import linting, stats
    from sluice.runtime.realising import realisations

    async with onbus.connected(url) as bus, aclosing(realisations(bus)) as tellings:
        try:
            async with asyncio.timeout(onbus.CONNECT_S):
                told = answers(await anext(tellings))
                events = (await linting.snapshot(bus)).events
                nodes = await stats.newest(bus, "ovs")
        except TimeoutError:
            raise onbus.unread(url) from None
    counts: dict[str, dict[str, int]] = {}
    for node in nodes:
        for one in node.traffic:
            sums = counts.setdefault(one.unit, {})
            for became in ("mirrored", "redirected", "dropped"):
                sums[became] = sums.get(became, 0) + getattr(one, became)
    controls = {key_of(one.object): one.object for one in events if isinstance(one.object, TrafficControl)}
    return [_row(control, told.get(key), counts) for key, control in sorted(controls.items())]


def _row(control: Any, answer: Any, counts: dict[str, dict[str, int]]) -> dict[str, Any]:
    from sluice.contracts import subjects
    from sluice.contracts.kinds import Kind

    spec, name = control.spec, control.metadata.name
    of = counts.get(subjects.unit(Kind.TRAFFIC_CONTROL, "", name), {})
    return {
        "name": name,
        "action": spec.action,
        "direction": spec.direction,
        "target": _port(spec.target_port),
        "return": "" if spec.return_port is None else _port(spec.return_port),
        "nodes": answer.nodes if answer else "",
        "phase": answer.phase if answer else "Pending",
        "packets": {became: of.get(became, 0) for became in ("mirrored", "redirected", "dropped")},
        "why": answer.why if answer else "",
    }


def _port(port: Any) -> str:
    """The port as a single word for tables: vxlan:10.0.10.2/vni=1."""
    import msgspec

    ((kind, said),) = msgspec.to_builtins(port).items()
    name = said.pop("name", "") or said.pop("remoteIP", "")
    return f"{kind}:{name}" + "".join(f"/{field}={value}" for field, value in said.items())


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    packets = row["packets"]
    return (
        *(row[column] for column in ("name", "action", "direction", "target")),
        row["return"] or "-",
        row["nodes"],
        row["phase"],
        *(str(packets[became]) for became in ("mirrored", "redirected", "dropped")),
        row["why"],
    )
