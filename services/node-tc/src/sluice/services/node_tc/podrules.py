"""Writes each Pod's filters to a file, for people: DIR/<Pod uid>/<network>-<device>.rules, with "/" as "-"."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from sluice.dataplane.tc.engine import InterfaceKey
from sluice.dataplane.tc.filter import Hook, Standings
from sluice.dataplane.tc.text import write_all


class Rules(NamedTuple):
    key: InterfaceKey
    device: str
    standings: Mapping[Hook, Standings]


def text(rules: Rules) -> str:
    """One line per filter: its hook, and what follows `tc filter add dev DEVICE`."""
    lines = ["qdisc: clsact", "filters:"]
    for hook in Hook:
        filters = {key: standing.body for key, standing in rules.standings[hook].items()}
        lines += [f"{hook} {line}" for line in write_all(filters).splitlines()]
    return "\n".join(lines) + "\n"


class PodRules:
    """Keeps exactly these files of Pods in the folder. A file is written only if it differs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, rules: Iterable[Rules]) -> None:
        wanted = {self._file(one): text(one) for one in rules}
        for file, body in wanted.items():
            file.parent.mkdir(mode=0o700, exist_ok=True)
            if not file.exists() or file.read_text() != body:
                new = file.with_suffix(".new")
                new.write_text(body)
                new.replace(file)
        for file in self._folder.glob("*/*.rules"):
            if file not in wanted:
                file.unlink()
        for folder in self._folder.iterdir():
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def _file(self, rules: Rules) -> Path:
        network = rules.key.network.replace("/", "-")
        return self._folder / rules.key.uid / f"{network}-{rules.device}.rules"
