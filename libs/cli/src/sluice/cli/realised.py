"""How far policies are in force, according to a running bus: `sluice get status` and `sluice wait`."""

import sys
from collections.abc import Coroutine, Iterable
from typing import Any

import click

from sluice.cli import naming, onbus, options, watching
from sluice.cli.naming import Target

NOT_REALISED = 1


@click.command(name="status")
@click.argument("targets", nargs=-1, type=Target())
@click.option(
    "-n", "--namespace", metavar="NAME", help="Only objects of this Namespace; for TARGETS, the Namespace they are in."
)
@onbus.on_a_bus
@click.option(
    "--lint/--no-lint", default=True, show_default=True, help="Also look for probable mistakes; takes longer."
)
@watching.flag
@options.output("table")
def status(
    *,
    targets: tuple[Any, ...],
    namespace: str | None,
    nats_url: str | None,
    name: str | None,
    lint: bool,
    watch: bool,
    output: str,
) -> None:
    """Show how far policies are in force, where and why they fail, and probable mistakes in them.

    For groups, shows whether their members are known.

    The result is the same as the status of the objects in Kubernetes. Documents in a folder that were rejected are
    listed on standard error. Exits with 0, or with 2 on bad input.
    """
    wanted, url = {one.key(namespace): one.written for one in targets}, onbus.url(nats_url, name)
    rows: dict[tuple[str, str, str], tuple[str, ...]] = {}

    def fetch() -> list[dict[str, Any]]:
        found, unread = onbus.run(_asked(url, lint=lint))
        if not (targets or watch):
            _tell(unread)
        if missing := sorted(wanted.keys() - found.keys()):
            options.refuse([naming.absent(wanted[key], key, "on the bus", found) for key in missing])
        keys = [key for key in sorted(found) if (key in wanted if targets else namespace in (None, key.namespace))]
        rows.update({(key.kind, key.namespace, key.name): _cells(key, found[key]) for key in keys})
        return [
            {"kind": key.kind, "namespace": key.namespace, "name": key.name, "status": found[key].as_object()}
            for key in keys
        ]

    def named(one: dict[str, Any]) -> tuple[str, str, str]:
        return one["kind"], one["namespace"], one["name"]

    if output == "json" and not watch:
        options.echo_json(fetch())
        return
    header = ("KIND", "NAMESPACE", "NAME", "PHASE", "NODES", "WHY")
    watching.Listing(header, lambda one: rows[named(one)], named).show(fetch, output, watch=watch)


@click.command(name="wait")
@click.argument("targets", nargs=-1, required=True, type=Target())
@click.option(
    "--for", type=click.Choice(["realized"]), required=True, expose_value=False, help="The condition to wait for."
)
@click.option("-n", "--namespace", metavar="NAME", help="Namespace of TARGETS. Default: default.")
@click.option("--timeout", "timeout_s", default=30.0, show_default=True, type=click.FloatRange(min=0), help="Seconds.")
@onbus.on_a_bus
def wait(
    targets: tuple[Any, ...], namespace: str | None, timeout_s: float, nats_url: str | None, name: str | None
) -> None:
    """Wait until policies are in force as written, on every node that should have them.

    Waits for the version of each policy that the bus has. Exits with 0 when all are in force; with 1 after the timeout,
    and shows what is missing; with 2 on bad input.
    """
    keys = [one.key(namespace) for one in targets]
    missing, unread = onbus.run(_waited(onbus.url(nats_url, name), keys, timeout_s))
    for key in keys:
        click.echo(f"{naming.title(key)} {missing[key]}" if key in missing else f"{naming.title(key)} is realized")
    _tell(unread if missing else ())
    sys.exit(NOT_REALISED if missing else 0)


# ------------------------------------------------------------------------------------------------------------- the bus


async def _asked(url: str, *, lint: bool) -> Any:  # Any: a Mapping of Answers, imported lazily; rejected documents
    import asyncio

    from sluice.runtime import linting
    from sluice.runtime.realising import realisations

    async with onbus.connected(url) as bus:
        tellings = realisations(bus)
        try:
            async with asyncio.timeout(onbus.CONNECT_S):
                fold = await anext(tellings)
            if lint:
                await _warn(fold, linting.snapshot(bus))
            return answers(fold), fold.unread
        except TimeoutError:
            raise onbus.unread(url) from None
        finally:
            await tellings.aclose()


async def _warn(fold: Any, reading: Coroutine[Any, Any, Any]) -> None:
    """Let the fold produce warnings, if the bus has all objects."""
    import asyncio

    from sluice.policy.realisation.warnings import warnings

    try:
        async with asyncio.timeout(onbus.CONNECT_S):
            objects = await reading
    except TimeoutError:
        click.echo("warnings were not looked for: the bus does not know all objects yet", err=True)
        return
    fold.warned(warnings(objects.events))


async def _waited(url: str, keys: Iterable[Any], timeout_s: float) -> tuple[dict[Any, str], Iterable[Any]]:
    """What is still missing after that time, in words; and the rejected documents."""
    import asyncio
    from contextlib import aclosing

    from sluice.runtime.realising import realisations

    missing = dict.fromkeys(keys, "is not known, because the bus could not be read in time")
    unread: Iterable[Any] = ()
    async with onbus.connected(url) as bus, aclosing(realisations(bus)) as tellings:
        try:
            async with asyncio.timeout(timeout_s):
                async for fold in tellings:
                    found, unread = answers(fold), fold.unread
                    missing = {
                        key: found[key].words() if key in found else "does not exist"
                        for key in keys
                        if key not in found or not found[key].complete
                    }
                    if not missing:
                        break
        except TimeoutError:
            pass
    return missing, unread


# --------------------------------------------------------------------------------------------------------------- words


def answers(fold: Any) -> Any:
    from sluice.policy.realisation.answer import answers as of_fold

    return of_fold(fold)


def _tell(unread: Iterable[Any]) -> None:
    for problem in unread:
        click.echo(f"rejected: {problem.words()}", err=True)


def _cells(key: Any, answer: Any) -> tuple[str, ...]:
    from sluice.contracts.kinds import RESOURCES

    why = [*([answer.why] if answer.why else []), *([f"warning: {answer.warning}"] if answer.warning else [])]
    return (RESOURCES[key.kind].kind, key.namespace, key.name, answer.phase, answer.nodes, "; ".join(why))
