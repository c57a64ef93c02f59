"""The command line. Commands import what they need when they run, so that `sluice --help` is fast."""

import errno
from typing import Any

import click

from sluice.cli import examples, options
from sluice.cli.admin import admin
from sluice.cli.bisect import bisect
from sluice.cli.bundle import bundle
from sluice.cli.compile import compile_
from sluice.cli.completion import completion
from sluice.cli.connectivity import connectivity
from sluice.cli.diff import diff
from sluice.cli.explain import explain
from sluice.cli.get import get
from sluice.cli.lab import lab
from sluice.cli.ledger import ledger
from sluice.cli.lint import lint
from sluice.cli.plan import plan
from sluice.cli.query import query
from sluice.cli.realised import wait
from sluice.cli.rollback import rollback
from sluice.cli.trace import trace
from sluice.cli.validate import validate
from sluice.cli.verdict import verdict


class _Whole(click.Group):
    """Reports unexpected failures of files or connections as a message."""

    def invoke(self, ctx: click.Context) -> Any:  # Any: as click has it
        try:
            return super().invoke(ctx)
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # the reader has closed the pipe; click ends quietly
            where = f"{error.filename}: " if error.filename else ""
            options.refuse([f"{where}{error.strerror or error}; `sluice {ctx.invoked_subcommand}` cannot go on"])


@click.group(cls=_Whole)
@click.version_option(package_name="sluice-cli")
def main() -> None:
    """Kubernetes network policy, and what it does to packets."""


for command in (
    admin,
    bisect,
    bundle,
    compile_,
    completion,
    connectivity,
    diff,
    explain,
    get,
    lab,
    ledger,
    lint,
    plan,
    query,
    rollback,
    trace,
    validate,
    verdict,
    wait,
):
    main.add_command(command)
examples.give(main)
