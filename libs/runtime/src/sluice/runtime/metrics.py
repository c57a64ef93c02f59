"""Counters and gauges in the Prometheus text format (version 0.0.4)."""

from collections.abc import Callable, Iterable
from typing import Literal


class Metric:
    """A metric with at most one label. Only for the event loop's thread."""

    def __init__(self, name: str, help_text: str, kind: Literal["counter", "gauge"], label: str) -> None:
        self.name, self._help, self._kind, self._label = name, help_text, kind, label
        self._values: dict[str, float] = {} if label else {"": 0.0}
        self._read: dict[str, Callable[[], float]] = {}

    def add(self, amount: float, label: str = "") -> None:
        self._values[label] = self._values.get(label, 0.0) + amount

    def set(self, value: float, label: str = "") -> None:
        self._values[label] = value

    def follow(self, read: Callable[[], float], label: str = "") -> None:
        """Read the value from `read` at each scrape from now on."""
        self._read[label] = read

    def value(self, label: str = "") -> float:
        read = self._read.get(label)
        return read() if read else self._values.get(label, 0.0)

    def text(self) -> str:
        lines = _head(self.name, self._help, self._kind)
        for label in sorted(self._values.keys() | self._read.keys()):
            tag = _tag(((self._label, label),)) if self._label else ""
            lines.append(f"{self.name}{tag} {self.value(label):.17g}")
        return "\n".join(lines) + "\n"


ReadRows = Callable[[], Iterable[tuple[tuple[str, ...], float]]]
"""The values, each with those of its labels."""


class Rows:
    """Counters with one name and several labels, read at each scrape."""

    def __init__(self, name: str, help_text: str, labels: tuple[str, ...], read: ReadRows) -> None:
        self.name, self._help, self._labels, self._read = name, help_text, labels, read

    def text(self) -> str:
        lines = _head(self.name, self._help, "counter")
        lines += [
            f"{self.name}{_tag(zip(self._labels, values, strict=True))} {value:.17g}" for values, value in self._read()
        ]
        return "\n".join(lines) + "\n"


def _head(name: str, help_text: str, kind: str) -> list[str]:
    return [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]


def _tag(labels: Iterable[tuple[str, str]]) -> str:
    return "{" + ",".join(f'{label}="{_escaped(value)}"' for label, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


class Metrics:
    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}
        self._rows: dict[str, Rows] = {}

    def counter(self, name: str, help_text: str, label: str = "") -> Metric:
        return self._metrics.setdefault(name, Metric(name, help_text, "counter", label))

    def gauge(self, name: str, help_text: str, label: str = "") -> Metric:
        return self._metrics.setdefault(name, Metric(name, help_text, "gauge", label))

    def rows(self, name: str, help_text: str, labels: tuple[str, ...], read: ReadRows) -> None:
        """Register counters whose values `read` returns at each scrape."""
        self._rows[name] = Rows(name, help_text, labels, read)

    def text(self) -> str:
        every: dict[str, Metric | Rows] = {**self._metrics, **self._rows}
        return "".join(every[name].text() for name in sorted(every))


METRICS = Metrics()
"""The metrics of this process."""
