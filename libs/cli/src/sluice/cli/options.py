"""Options and output shared by several commands."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import click

BAD_INPUT = 2
"""Exit code for bad usage and for unusable input; click uses it for the former, too."""

files = click.option(
    "-f",
    "--filename",
    "files",
    multiple=True,
    required=True,
    metavar="PATH",
    help="Manifests: a file, a folder with all its contents, or - for standard input. May be repeated.",
)


def output(*others: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`-o`: readable text, the first of `others`, or json."""
    kinds = [*others, "json"]
    return click.option("-o", "--output", type=click.Choice(kinds), default=kinds[0], show_default=True)


def refuse(lines: Sequence[str]) -> NoReturn:
    """End the command and report what is wrong with the input."""
    for line in lines:
        click.echo(line, err=True)
    sys.exit(BAD_INPUT)


def echo_json(value: object) -> None:
    """The value, indented; equal values give equal output."""
    import msgspec

    from sluice.contracts import codec

    click.echo(msgspec.json.format(codec.encode(value), indent=2).decode())


def table(rows: Sequence[Sequence[str]]) -> str:
    """The rows in aligned columns; the last column is not padded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    )
