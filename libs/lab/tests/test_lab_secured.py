"""The certificate that the Pods of a lab show: several may need it first."""

import subprocess
import sys
import time
from pathlib import Path

AT_ONCE, ROUNDS, ROUND_S = 6, 12, 0.15
"""Processes, certificates that each needs, and between two of them: all begin a round together."""

NEEDS_IT = f"""
import sys, time
from pathlib import Path
from sluice.lab.prober import secured
for number in range({ROUNDS}):
    time.sleep(max(0, float(sys.argv[2]) + number * {ROUND_S} - time.time()))
    secured.server(Path(sys.argv[1]) / f"{{number}}.pem")
"""


def test_several_may_make_a_certificate_at_a_time(tmp_path: Path) -> None:
    words = [sys.executable, "-c", NEEDS_IT, str(tmp_path), str(time.time() + 0.5)]
    running = [subprocess.Popen(words, stderr=subprocess.PIPE, text=True) for _ in range(AT_ONCE)]
    assert [each.communicate(timeout=60)[1] for each in running] == [""] * AT_ONCE
    assert {each.name for each in tmp_path.iterdir()} == {f"{number}.pem" for number in range(ROUNDS)}
