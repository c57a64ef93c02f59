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
    """Show for each object whether it would be admitted, and if not, why; and warn of probable mistakes.

    Exits with 0 if all would be admitted, with 1 if one would not, with 2 on bad usage.
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
        warned = sum(len(row["cautions"]) for row in rows)
        summary = ", ".join(f"{number} {result}" for result, number in count.items())
        click.echo(summary + (f"; {warned} {'warning' if warned == 1 else 'warnings'}" if warned else ""))
    sys.exit(REFUSED if count["refused"] else 0)


def _row(entry: Any) -> dict[str, Any]:  # Any: an Entry, which is imported lazily
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
    problems, cautions = (
        [{"line": one.line, "path": one.path, "reason": one.reason} for one in found]
        for found in (entry.problems, entry.cautions)
    )
    row = {"file": entry.file, "line": entry.line, **named, "result": result, "problems": problems}
    hints = list(parsed.hints) if isinstance(parsed, Ignored) else []
    return {**row, "cautions": cautions, "hints": hints}


def _lines(row: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """One row for the object; one for each reason if there are several."""
    name = "/".join(filter(None, (row["namespace"], row["name"])))
    title = f"{row['kind']} {name}".strip() or "-"
    if row["result"] == "ignored":
        told = "a kind that has nothing to do with policy" if not row["hints"] else "settings of Antrea; here:"
        where = f"{row['file']}:{row['line']}"
        return [("ignored", title, where, told), *(("hint", title, where, hint) for hint in row["hints"])]
    if row["result"] == "accepted":
        return [("accepted", title, f"{row['file']}:{row['line']}", ""), *_reasons("warned", title, row, "cautions")]
    return _reasons("refused", title, row, "problems")


def _reasons(result: str, title: str, row: dict[str, Any], which: str) -> list[tuple[str, str, str, str]]:
    return [(result, title, f"{row['file']}:{one['line']}", f"{one['path']}: {one['reason']}") for one in row[which]]
