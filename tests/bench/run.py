"""Measure: `run.py` everything, `run.py P1 P12` these. Each benchmark runs in a process of its own.

Figures are for comparing on one machine, in one run: benchmarks are not tests, and nothing fails when they are slow.
In the end all of them are one table. `--json FILE` writes it down for programs, `--page` into docs/performance.md.
"""

import argparse
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.figures import OUT, Figure, as_json, read, table

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "performance.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"

BENCHMARKS = {
    "P1": ("core_p1", "stream_p1"),
    "P2": ("core_p1",),
    "P3": ("core_p1",),
    "P4": ("core_p1",),
    "P5": ("core_p1",),
    "P6": ("core_p1",),
    "P7": ("past_p7",),
    "P8": ("ovs_p8",),
    "P9": ("ovs_p9",),
    "P10": ("latency_p10",),
    "P11": ("latency_p10",),
    "P12": ("core_p12",),
    "P13": ("core_p13",),
    "P16": ("ovs_p9",),
    "P18": ("ovs_p18",),
    "P19": ("tc_p19",),
    "P20": ("admission_p20",),
    "P21": ("ingest_p21",),
    "AUDIT": ("audit_log",),
    "COUNT": ("ovs_counts",),
    "FQDN": ("fqdn_answer",),
    "LINT": ("lint_equals",),
    "OFFLINE": ("offline",),
    "L7": ("l7_lab", "l7_recovery"),
}
"""The modules of tests/bench that measure it, each run with the figure's name.

AUDIT, COUNT, FQDN, L7, P9, P10, P11, P16 and P18 need root and Open vSwitch; P19 needs what `./task kernels` fetches.
"""


def machine() -> str:
    """What they were measured on."""
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    load = os.getloadavg()[2]
    return (
        f"{os.cpu_count()} cores ({cpu[1] if cpu else platform.machine()}), "
        f"{int(memory[1]) >> 20 if memory else '?'} GiB, Linux {platform.release()}, "
        f"CPython {platform.python_version()}; load over the last 15 minutes: {load:.1f}"
    )


LONGEST_S = 600
"""For one benchmark; it is then ended, and the others go on. The longest, P1 from end to end, takes a third of it."""

_TO_END_S = 30


def measure(names: list[str]) -> tuple[list[Figure], list[str]]:
    """The figures; and for each benchmark that failed, which and why. One that fails keeps no other from running."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures"
        out.touch()
        failures = [
            f"{name} ({module}: {why})"
            for name in names
            for module in BENCHMARKS[name]
            if (why := _run([sys.executable, "-m", f"tests.bench.{module}", name], out))
        ]
        return read(out), failures


def _run(command: list[str], out: Path) -> str:
    """Run one benchmark; why it failed, if it did."""
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, OUT: str(out)}) as process:
        try:
            code = process.wait(LONGEST_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # so that it ends what it started
            try:
                process.wait(_TO_END_S)
            except subprocess.TimeoutExpired:
                process.kill()
            return f"not done after {LONGEST_S} s"
    return f"exit code {code}" if code else ""


def write_page(figures: list[Figure], failures: list[str]) -> None:
    """Put the table into the page; its other words stay."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{table(figures)}\n\nMeasured on {machine()}.\n{missing(failures)}{END}{after}")


def missing(failures: list[str]) -> str:
    """What the table lacks, as a line; nothing if it lacks nothing."""
    return f"\nNot measured: {', '.join(failures)}.\n" if failures else ""


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./task bench --", description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(BENCHMARKS))
    parser.add_argument("--json", type=Path, help="a file for the table as JSON")
    parser.add_argument("--page", action="store_true", help="write the table into docs/performance.md")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.names if name not in BENCHMARKS]:
        parser.error(f"{', '.join(unknown)}: no such figure; there are {', '.join(BENCHMARKS)}")
    figures, failures = measure(given.names or list(BENCHMARKS))
    print(f"\n{table(figures)}\n\n{machine()}\n{missing(failures)}")
    if given.json:
        given.json.write_bytes(as_json(figures))
    if given.page:
        write_page(figures, failures)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
