"""`sluice validate`: would these objects be admitted, and if not, why?"""

import sys
from typing import Any

import click

from sluice.cli import options

REFUSED = 1


@click.command()
@options.files
@options.output("table")
def validate(files: tuple[str, ...], output: str) -> None:
    """Say of each object whether it would be admitted, and if not, why.

    Exits with 0 if all are, with 1 if one is not, with 2 on bad usage.
    """
    from sluice.cli.loading import load

    rows = [_row(entry) for entry in load(files)]
    count = {result: sum(row["result"] == result for row in rows) for result in ("accepted", "ignored", "refused")}
    if output == "json":
        options.echo_json({"objects": rows, **count})
    else:
        lines = [line for row in rows for line in _lines(row)]
        if lines:
            click.echo(options.table([("RESULT", "OBJECT", "WHERE", "REASON"), *lines]))
        click.echo(", ".join(f"{number} {result}" for result, number in count.items()))
    sys.exit(REFUSED if count["refused"] else 0)


def _row(entry: Any) -> dict[str, Any]:  # Any: an Entry, which is imported late
    from sluice.contracts.kinds import RESOURCES
    from sluice.kube.manifest import Document, Ignored

    parsed = entry.parsed
    named = {"kind": "", "namespace": "", "name": ""}
    if isinstance(parsed, Document):
        namespace, name = parsed.object.key
        named = {"kind": RESOURCES[parsed.kind].kind, "namespace": namespace, "name": name}
    elif isinstance(parsed, Ignored):
        named["kind"] = parsed.kind
    result = "refused" if entry.problems else "ignored" if isinstance(parsed, Ignored) else "accepted"
    problems = [{"line": one.line, "path": one.path, "reason": one.reason} for one in entry.problems]
    return {"file": entry.file, "line": entry.line, **named, "result": result, "problems": problems}


def _lines(row: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """One for the object; with more than one reason, one for each."""
    name = "/".join(filter(None, (row["namespace"], row["name"])))
    title = f"{row['kind']} {name}".strip() or "-"
    if row["result"] == "ignored":
        return [("ignored", title, f"{row['file']}:{row['line']}", "a kind that has nothing to do with policy")]
    if row["result"] == "accepted":
        return [("accepted", title, f"{row['file']}:{row['line']}", "")]
    return [
        ("refused", title, f"{row['file']}:{problem['line']}", f"{problem['path']}: {problem['reason']}")
        for problem in row["problems"]
    ]
