"""How a benchmark says what it found: the figure, the figure to beat, the target; and all of them as one table."""

import os
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

OUT = "SLUICE_BENCH_OUT"
"""The variable that names the file to which each figure is added as a line of JSON."""


class Figure(NamedTuple):
    id: str
    """As in the list of what Sluice must reach: P1 and on."""

    what: str
    value: float
    unit: str
    to_beat: float | None = None
    """In the same unit; lower is better for all of them."""

    target: float | None = None
    """In the same unit."""

    cpu: float | None = None
    """In the same unit: what our own process spent of it. What others do on the machine disturbs it less."""

    detail: str = ""

    @property
    def ratio(self) -> float | None:
        return self.to_beat / self.value if self.to_beat is not None else None

    @property
    def reached(self) -> bool | None:
        return self.value <= self.target if self.target is not None else None


class Watch:
    """Seconds since it was made, by the clock and of our own process."""

    def __init__(self) -> None:
        self._clock, self._process = time.perf_counter(), time.process_time()

    def read(self) -> "Took":
        return Took(time.perf_counter() - self._clock, time.process_time() - self._process)


class Took(NamedTuple):
    seconds: float
    cpu_s: float


def show(figure: Figure, detail: str = "") -> None:
    """Print it, and add it to the table that is being made, if any."""
    figure = figure._replace(detail=detail or figure.detail)
    parts = [f"{figure.id:4} {figure.what}: {_number(figure.value)} {figure.unit}"]
    if figure.cpu is not None:
        parts.append(f"CPU {_number(figure.cpu)} {figure.unit}")
    if figure.to_beat is not None:
        parts.append(f"to beat {_number(figure.to_beat)} {figure.unit}, ratio {_number(figure.ratio)}")
    if figure.target is not None:
        parts.append(f"target {_number(figure.target)} {figure.unit}: {'reached' if figure.reached else 'MISSED'}")
    print("  ".join(parts), flush=True)
    if figure.detail:
        print(f"     {figure.detail}", flush=True)
    if out := os.environ.get(OUT):
        with Path(out).open("ab") as file:
            file.write(msgspec.json.encode(figure) + b"\n")


def read(file: Path) -> list[Figure]:
    return [msgspec.json.decode(line, type=Figure) for line in file.read_bytes().splitlines()]


HEAD = ("", "workload", "Sluice", "of it CPU", "to beat", "ratio", "target", "reached")


def table(figures: list[Figure]) -> str:
    """As Markdown, which reads as text, too."""
    rows = [HEAD, *map(_cells, figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join(f"| {' | '.join(map(str.ljust, row, widths))} |" for row in rows)


def as_json(figures: list[Figure]) -> bytes:
    rows = [{**one._asdict(), "ratio": one.ratio, "reached": one.reached} for one in figures]
    return msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n"


def _cells(one: Figure) -> tuple[str, ...]:
    reached = "" if one.reached is None else "yes" if one.reached else "NO"
    return (
        one.id,
        one.what,
        _quantity(one.value, one.unit),
        _quantity(one.cpu, one.unit),
        _quantity(one.to_beat, one.unit),
        _number(one.ratio),
        _quantity(one.target, one.unit),
        reached,
    )


def _quantity(value: float | None, unit: str) -> str:
    return "" if value is None else f"{_number(value)} {unit}"


def _number(value: float | None) -> str:
    """Three digits that count."""
    return "" if value is None else f"{value:.3g}" if value < 1_000 else f"{value:.0f}"
