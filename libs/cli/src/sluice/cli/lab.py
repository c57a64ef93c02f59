"""`sluice lab`: a cluster on one machine, with a real datapath."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from sluice.cli import lab_node

BAD_INPUT = 2
NOT_AS_EXPECTED = 1
MANY_SCENARIOS = 20

_name = click.option("--name", default=None, help="Name of the lab. Default: the only one running, or a new one.")


@click.group()
@click.option("-v", "--verbose", is_flag=True, help="Log what the lab does to standard error.")
def lab(verbose: bool) -> None:  # noqa: FBT001  # click passes flags by name
    """Run a cluster on one machine: real Open vSwitch, Pods that answer, the services of production."""
    import logging

    import structlog

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO if verbose else logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


lab.add_command(lab_node.node)
lab.add_command(lab_node.probe)


@lab.command()
@click.option("--nodes", default=1, show_default=True, type=click.IntRange(min=1), help="Number of nodes.")
@click.option(
    "-f", "--filename", "files", multiple=True, type=click.Path(path_type=Path), help="Manifests: a file or a folder."
)
@click.option("--name", default="lab", show_default=True, help="Name of the lab.")
@click.option("--secure", is_flag=True, help="Give services and nodes keys and permissions, and encrypt the bus.")
def up(nodes: int, files: tuple[Path, ...], name: str, secure: bool) -> None:  # noqa: FBT001  # click, as above
    """Start a lab with these objects; it runs until `sluice lab down`."""
    from sluice.kube.manifest import Document
    from sluice.lab import keep, reading

    _need_a_datapath()
    try:
        found = [each for path in files for each in reading.load_manifests(path, str(path))]
    except reading.BadScenario as error:
        _refuse(str(error))
    if not keep.stays():
        where = [*(["--secure"] if secure else []), *(word for path in files for word in ("-f", str(path)))]
        sys.exit(keep.detached(["lab", "up", "--name", name, "--nodes", str(nodes), *where]))
    _run(_up(name, nodes, [each for each in found if isinstance(each, Document)], secure=secure))


async def _up(name: str, nodes: int, documents: Sequence[Any], *, secure: bool) -> None:
    from sluice.lab import keep
    from sluice.lab.lab import Lab
    from sluice.lab.waiting import NotRealised

    async with await Lab.start(name, [f"node-{number}" for number in range(1, nodes + 1)], secure=secure) as running:
        code = 0
        await running.serve()
        await running.change(apply=documents)
        try:
            await running.realised()
        except NotRealised as error:
            click.echo(str(error), err=True)
            code = NOT_AS_EXPECTED
        click.echo(_table(keep.portrait(running)))
        click.echo(f"`sluice lab exec --name {name} POD -- COMMAND`, `sluice lab down --name {name}`")
        await keep.stay(running, code)


@lab.command()
@_name
def down(name: str | None) -> None:
    """Stop a lab and remove everything it created."""
    from sluice.lab import claim, state

    running = [owner.name for owner in claim.owners()]
    if name is None and not running:
        swept = claim.sweep_stale()
        click.echo(f"no lab runs{f'; swept what was left of {chr(44).join(swept)}' if swept else ''}")
        return
    try:
        name = name if name in running else state.read(name).name
    except state.NoLab as error:
        _refuse(str(error))
    if not claim.end(name):
        click.echo(f"lab {name}: not everything of it could be removed: see {claim.root() / name}", err=True)
        sys.exit(NOT_AS_EXPECTED)
    click.echo(f"lab {name} has ended")


@lab.command()
@_name
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
def status(name: str | None, output: str) -> None:
    """Show what runs in a lab, and what is wrong with it."""
    import msgspec

    from sluice.lab import claim, state

    running = [owner.name for owner in claim.owners()]
    if name is None and output == "table" and len(running) != 1:
        click.echo("\n".join(running) or "no lab runs")
        return
    try:
        known = state.read(name)
    except state.NoLab as error:
        _refuse(str(error))
    click.echo(msgspec.json.format(msgspec.json.encode(known), indent=2) if output == "json" else _table(known))


@lab.command(name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_name
@click.argument("pod")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(name: str | None, pod: str, command: tuple[str, ...]) -> None:
    """Run a command in a Pod's network namespace: NAMESPACE/NAME -- COMMAND."""
    from sluice.lab import state, sweep

    words = command[1:] if command[0] == "--" else command
    try:
        known = state.read(name)
        netns = state.pod(known, pod).netns
    except state.NoLab as error:
        _refuse(str(error))
    os.execvpe("ip", ["ip", "netns", "exec", netns, *words], {**os.environ, sweep.MARK: known.name})  # noqa: S606  # the user asked to run it


@lab.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Choice(["table", "json", "junit"]), default="table", show_default=True)
@click.option("--keep", "kept", is_flag=True, help="Leave the lab running, with the objects of the last scenario.")
@click.option("--require-datapath", is_flag=True, help="Fail on scenarios that only verdict() can answer.")
@click.option("--name", default=None, help="Name of the lab. Default: a generated one.")
@click.option(
    "--labs", type=click.IntRange(1, 16), help="Labs to run in parallel. Default: one, or two for many scenarios."
)
def run(paths: tuple[Path, ...], output: str, name: str | None, labs: int | None, **flags: bool) -> None:
    """Run scenarios in one lab, or many scenarios in two parallel labs; folders are searched for them.

    Exits with 0 if everything was as expected, with 1 if something was not, with 2 on bad input.
    """
    from sluice.lab import keep, reading

    kept, require_datapath = flags["kept"], flags["require_datapath"]
    try:
        stories = reading.read(paths)
    except reading.BadScenario as error:
        _refuse(str(error))
    if kept or any(not story.scenario.offline for story in stories):
        _need_a_datapath()
    if labs not in (None, 1) and (kept or name):
        _refuse(
            "--labs: several labs cannot be combined with --keep or --name, which are for one; leave out one of them"
        )
    if kept and not keep.stays():
        words = [*(["--require-datapath"] if require_datapath else []), *(["--name", name] if name else [])]
        sys.exit(keep.detached(["lab", "run", "--keep", "-o", output, *words, *map(str, paths)]))
    count = 1 if kept or name else labs or _labs_for(stories)
    sys.exit(_run(_play(stories, output, name, labs=count, kept=kept, require_datapath=require_datapath)))


def _labs_for(stories: Sequence[Any]) -> int:
    """Two if a second lab, whose start takes as long as three scenarios, soon pays off."""
    return 2 if sum(not story.scenario.offline for story in stories) >= MANY_SCENARIOS else 1


async def _play(
    stories: Sequence[Any], output: str, name: str | None, *, labs: int, kept: bool, require_datapath: bool
) -> int:
    from contextlib import AsyncExitStack

    from sluice.lab import keep, results
    from sluice.lab.lab import Lab
    from sluice.lab.suite import play, play_side_by_side

    names = [story.name for story in stories]

    def told(outcome: Any) -> None:
        if output == "table":
            click.echo(results.lines_of(outcome, names))

    async with AsyncExitStack() as stack:
        running = None
        outcomes = []
        if labs > 1:
            started = [await stack.enter_async_context(await Lab.start(None)) for _ in range(labs)]
            outcomes = await play_side_by_side(started, stories, told, require_datapath=require_datapath)
        else:
            if kept or any(not story.scenario.offline for story in stories):
                running = await stack.enter_async_context(await Lab.start(name))
            async for outcome in play(running, stories, require_datapath=require_datapath, keep_last=kept):
                outcomes.append(outcome)
                told(outcome)
        report = results.Report(tuple(outcomes))
        click.echo(results.summary(report) if output == "table" else results.FORMATS[output](report))
        code = 0 if report.ok else NOT_AS_EXPECTED
        if kept and running:
            click.echo(f"lab {running.name} stays: `sluice lab down --name {running.name}` ends it", err=True)
            await keep.stay(running, code)
        return code


@lab.command()
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--keep", "kept", is_flag=True, help="Leave the lab running, with the objects of the last story.")
def demo(folders: tuple[Path, ...], kept: bool) -> None:  # noqa: FBT001  # click, as above
    """Show who reaches whom before and after policies, for the examples or the manifests in FOLDERS."""
    from sluice.lab import demo as stories
    from sluice.lab import keep, machine

    try:
        told = stories.tales(folders)
    except ValueError as error:
        _refuse(str(error))
    if lacking := machine.lacking():
        click.echo("This machine cannot run a real switch:")
        click.echo("\n".join(f"  - {reason}" for reason in lacking))
        click.echo("So no packet is sent: below, packets walk through the flows that a switch would get.\n")
        sys.exit(stories.offline(told, click.echo))
    if kept and not keep.stays():
        sys.exit(keep.detached(["lab", "demo", "--keep", *map(str, folders)]))
    sys.exit(_run(stories.show(told, click.echo, kept=kept)))


def _table(known: Any) -> str:  # Any: LabState, which is imported lazily
    lines = [f"lab {known.name}: pid {known.pid}, {known.nats_url}, {known.folder}"]
    lines += [f"  API {known.api_url}"] if known.api_url else []
    lines.append(f"  manifests in {known.manifests}")
    for node in known.nodes:
        health = "healthy" if node.healthy else "NOT healthy"
        engine = "" if node.rule_sets is None else f", inspects requests by {node.rule_sets} rule sets"
        lines.append(f"  {node.node}: {health}, has applied revision {node.applied}, {node.netns}{engine}")
        lines += [f"    {problem}" for problem in node.problems]
    for pod in known.pods:
        ports = " ".join(map(str, pod.ports)) or "none"
        closed = "" if pod.open else "  CLOSED"
        lines.append(f"  {pod.pod}: {' '.join(pod.addresses)} on {pod.node}, ports {ports}{closed}")
    lines += [f"  {process} was started again {count} times" for process, count in known.restarts.items()]
    return "\n".join(lines)


def _need_a_datapath() -> None:
    from sluice.lab import machine

    if lacking := machine.lacking():
        _refuse("\n".join(["this machine cannot run a lab:", *lacking]))


def _run(work: Any) -> Any:
    """Run the work; what keeps a lab from starting is reported in one line."""
    from sluice.lab import keep
    from sluice.lab.claim import BadName, Taken
    from sluice.lab.ovs import OvsFailed
    from sluice.runtime.natsserver import ServerFailed

    try:
        return keep.run(work)
    except (BadName, Taken, OvsFailed, ServerFailed, PermissionError) as error:
        _refuse(str(error))
    except KeyboardInterrupt:
        sys.exit(130)  # the shell's code for a program ended by Ctrl-C


def _refuse(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(BAD_INPUT)
