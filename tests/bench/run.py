"""Measure: `run.py` everything, `run.py P1 P12` these. Each benchmark runs in a process of its own.

Figures are for comparing on one machine, in one run: benchmarks are not tests, and nothing fails when they are slow.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

BENCHMARKS = {
    "P1": "core_p1",
    "P2": "core_p1",
    "P3": "core_p1",
    "P4": "core_p1",
    "P5": "core_p1",
    "P8": "ovs_p8",
    "P9": "ovs_p9",
    "P10": "latency_p10",
    "P12": "core_p12",
    "P13": "core_p13",
    "P16": "ovs_p9",
    "P18": "ovs_p18",
    "P19-churn": "tc_churn",
    "P20": "admission_p20",
    "P21": "ingest_p21",
}
"""The module of tests/bench that measures it, run with the figure's name.

P9, P10, P16 and P18 need root and Open vSwitch.
"""


def main(names: list[str]) -> int:
    wanted = names or list(BENCHMARKS)
    unknown = [name for name in wanted if name not in BENCHMARKS]
    if unknown:
        print(f"{', '.join(unknown)}: no such figure; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    failed = 0
    for name in wanted:
        module = f"tests.bench.{BENCHMARKS[name]}"
        failed |= subprocess.run([sys.executable, "-m", module, name], cwd=ROOT, check=False).returncode
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
