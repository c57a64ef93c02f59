"""The source of a command's objects: manifests, or a bus at present or at any sequence or time."""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import click

from sluice.cli import onbus, options

AGO = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
"""Seconds in each unit of an age."""

FORMS = "2026-07-04T12:45:21Z, or 10m for ten minutes ago (s, m, h, d)"


class Time(click.ParamType[int]):
    """A time, or an age. Its value is in nanoseconds since 1970: the last one that the time covers."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        at_ns = value if isinstance(value, int) else _time_ns(value)
        if at_ns is None:
            self.fail(f"{value!r} is not a time; write {FORMS}", param, ctx)
        return at_ns


class Moment(NamedTuple):
    """A moment given as an entry of the ledger, or as a time in nanoseconds since 1970; the other is None."""

    said: str
    sequence: int | None
    at_ns: int | None


class SequenceOrTime(click.ParamType[Moment]):
    """Its value is a `Moment`."""

    name = "seq|time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Moment:
        if isinstance(value, Moment):
            return value
        if value.isascii() and value.isdigit():
            return Moment(value, int(value), None)
        at_ns = _time_ns(value)
        if at_ns is None:
            self.fail(f"{value!r} is neither an entry of the ledger nor a time; write 1200, {FORMS}", param, ctx)
        return Moment(value, None, at_ns)


_options = [
    click.option(
        "-f",
        "--filename",
        "files",
        multiple=True,
        metavar="PATH",
        help="Manifests: a file, a folder, or - for standard input. May be repeated. Default: ask a running bus.",
    ),
    click.option("--seq", "sequence", type=click.IntRange(min=0), help="The state after this ledger entry."),
    click.option("--at", "at_ns", type=Time(), help=f"The state at this time: {FORMS}."),
]


def objects(command: Any) -> Any:  # Any: as click's own decorators
    for option in reversed(_options):
        command = option(command)
    return command


class Known(NamedTuple):
    """The objects that a command is about."""

    state: Any  # of ClusterState, which is imported lazily
    where: Callable[[Any, str], dict[str, Any]]
    when: Mapping[str, Any]
    """Which moment it is, if the objects come from a ledger."""


def known(
    files: tuple[str, ...], nats_url: str | None, name: str | None, sequence: int | None, at_ns: int | None
) -> Known:
    """The objects; a missing source ends the command."""
    if sequence is not None and at_ns is not None:
        raise click.UsageError("--seq and --at: each of them names a moment; leave one out")
    if files and (sequence is not None or at_ns is not None or nats_url or name):
        raise click.UsageError(
            "-f: manifests have no past and no bus; leave out -f, or --seq, --at, --nats-url and --name"
        )
    if files:
        return of_files(files)
    return of_moment(onbus.run(moment(onbus.url(nats_url, name), sequence, at_ns)))


def of_files(files: tuple[str, ...]) -> Known:
    """The objects of manifests, and their lines."""
    from sluice.cli.loading import load_all
    from sluice.cli.placing import placed
    from sluice.lab.world import Key
    from sluice.policy.state import ClusterState

    world = placed(load_all(files))

    def where(origin: Any, path: str) -> dict[str, Any]:
        place = world.objects[Key(origin.kind, origin.namespace, origin.name)].problem(path, "")
        return {"file": place.file, "line": place.line}

    return Known(ClusterState(document.object for document in world.objects.values()), where, {})


def of_moment(there: Any) -> Known:
    """The objects at one moment of a ledger, and their entries."""
    from sluice.contracts import subjects
    from sluice.policy.past import cluster

    def where(origin: Any, _: str) -> dict[str, Any]:
        held = there.held.held.get(subjects.object_(origin.kind, origin.namespace, origin.name))
        return {"sequence": held.sequence, "time": written(held.time_ns)} if held else {}

    return Known(cluster(there.held, there.epoch), where, {"sequence": there.sequence})


async def moment(url: str, sequence: int | None, at_ns: int | None) -> Any:
    """The moment given by the options; now if both are None."""
    async with onbus.connected(url) as bus:
        return await moment_of(bus, sequence, at_ns)


async def moment_of(bus: Any, sequence: int | None, at_ns: int | None) -> Any:
    from sluice.contracts.codec import Undecodable
    from sluice.ledger.history import TooOld
    from sluice.ledger.state import BadState
    from sluice.runtime import past

    try:
        if at_ns is not None:
            sequence = await past.sequence_at(bus, at_ns)
        return await past.moment(bus, sequence)
    except (TooOld, BadState, Undecodable) as error:
        options.refuse([str(error)])


def _time_ns(text: str) -> int | None:
    """Nanoseconds since 1970 of a time (its last nanosecond) or an age; None if it is neither."""
    import time

    from sluice.ledger.times import span

    if age := re.fullmatch(r"(\d+)([smhd])", text):
        return time.time_ns() - int(age[1]) * AGO[age[2]] * 10**9
    try:
        return span(text).last
    except (OverflowError, ValueError):
        return None


def written(at_ns: int) -> str:
    """The time in readable form, in UTC."""
    from sluice.ledger import times

    return times.written(at_ns)
