"""Counters and gauges, in the text format that Prometheus reads (version 0.0.4)."""

from collections.abc import Callable
from typing import Literal


class Metric:
    """One name with one optional label. Only the event loop's thread touches it."""

    def __init__(self, name: str, help_text: str, kind: Literal["counter", "gauge"], label: str) -> None:
        self.name, self._help, self._kind, self._label = name, help_text, kind, label
        self._values: dict[str, float] = {} if label else {"": 0.0}
        self._read: dict[str, Callable[[], float]] = {}

    def add(self, amount: float, label: str = "") -> None:
        self._values[label] = self._values.get(label, 0.0) + amount

    def set(self, value: float, label: str = "") -> None:
        self._values[label] = value

    def follow(self, read: Callable[[], float], label: str = "") -> None:
        """From now on the value is what `read` says at the time of the scrape."""
        self._read[label] = read

    def value(self, label: str = "") -> float:
        read = self._read.get(label)
        return read() if read else self._values.get(label, 0.0)

    def text(self) -> str:
        lines = [f"# HELP {self.name} {self._help}", f"# TYPE {self.name} {self._kind}"]
        for label in sorted(self._values.keys() | self._read.keys()):
            escaped = label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
            tag = f'{{{self._label}="{escaped}"}}' if self._label else ""
            lines.append(f"{self.name}{tag} {self.value(label):.17g}")
        return "\n".join(lines) + "\n"


class Metrics:
    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def counter(self, name: str, help_text: str, label: str = "") -> Metric:
        return self._metrics.setdefault(name, Metric(name, help_text, "counter", label))

    def gauge(self, name: str, help_text: str, label: str = "") -> Metric:
        return self._metrics.setdefault(name, Metric(name, help_text, "gauge", label))

    def text(self) -> str:
        return "".join(self._metrics[name].text() for name in sorted(self._metrics))


METRICS = Metrics()
"""Of this process."""
