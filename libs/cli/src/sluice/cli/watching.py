"""`--watch`: a list first, and then its changes, as in `kubectl get --watch --output-watch-events`."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from sluice.cli import options

INTERVAL_S = 1.0
"""Polling interval."""

Items = Sequence[dict[str, Any]]

flag = click.option(
    "-w", "--watch", is_flag=True, help="Continue with changes as they happen: ADDED, MODIFIED, DELETED."
)


class Listing:
    """A list for display.

    Args:
        row: the cells of an item.
        key: identifies an item across time.
        named: the list's name in JSON and YAML.
    """

    def __init__(
        self,
        header: Sequence[str],
        row: Callable[[dict[str, Any]], Sequence[str]],
        key: Callable[[dict[str, Any]], Any],
        *,
        named: str = "items",
    ) -> None:
        self._header, self._row, self._key, self._named = header, row, key, named

    def show(self, fetch: Callable[[], Items], output: str, *, watch: bool = False) -> None:
        """Print the items; with `watch`, also their changes, endlessly."""
        found = fetch()
        if not watch:
            self._whole(found, output)
            return
        import sys
        import time

        known: dict[Any, dict[str, Any]] = {}
        rows = [["EVENT", *self._header]] if output in ("table", "wide") else []
        while True:
            events = list(changes(known, {self._key(one): one for one in found}))
            self._events(events, output, rows)
            rows = []
            known = {self._key(one): one for one in found}
            sys.stdout.flush()
            time.sleep(INTERVAL_S)
            try:
                found = fetch()
            except SystemExit:  # the reason was printed; it may be temporary
                continue

    def _whole(self, found: Items, output: str) -> None:
        match output:
            case "json":
                options.echo_json({self._named: found})
            case "yaml":
                import yaml

                click.echo(yaml.safe_dump({self._named: list(found)}, sort_keys=False), nl=False)
            case _:
                click.echo(options.table([self._header, *map(self._row, found)]))

    def _events(self, events: list[tuple[str, dict[str, Any]]], output: str, rows: list[list[str]]) -> None:
        import msgspec

        match output:
            case "json":
                for event, one in events:
                    click.echo(msgspec.json.encode({"event": event, "object": one}))
            case "yaml":
                import yaml

                for event, one in events:
                    click.echo("---\n" + yaml.safe_dump({"event": event, "object": one}, sort_keys=False), nl=False)
            case _:
                if shown := [*rows, *([event, *self._row(one)] for event, one in events)]:
                    click.echo(options.table(shown))


def changes(before: dict[Any, dict[str, Any]], now: dict[Any, dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The changes in the order of the list; deleted items come last, in their last state."""
    for key, one in now.items():
        if key not in before:
            yield "ADDED", one
        elif before[key] != one:
            yield "MODIFIED", one
    for key, one in before.items():
        if key not in now:
            yield "DELETED", one
