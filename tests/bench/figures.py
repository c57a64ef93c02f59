"""How a benchmark says what it found: the figure, the figure to beat, and the ratio."""

from typing import NamedTuple


class Figure(NamedTuple):
    id: str
    """As in the list of what Sluice must reach: P1 and on."""

    what: str
    value: float
    unit: str
    to_beat: float | None = None
    """In the same unit; lower is better for all of them."""


def show(figure: Figure, detail: str = "") -> None:
    value = f"{figure.value:.4g} {figure.unit}"
    against = ""
    if figure.to_beat is not None:
        against = f"  to beat {figure.to_beat:g} {figure.unit}, ratio {figure.to_beat / figure.value:.1f}"
    print(f"{figure.id:4} {figure.what}: {value}{against}", flush=True)
    if detail:
        print(f"     {detail}", flush=True)
