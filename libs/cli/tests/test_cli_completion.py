"""What bash completes, by its own completion."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """\
eval "$(sluice completion bash)"
complete -p sluice > /dev/null || exit 1
COMP_WORDS=(%s)
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_sluice_completion sluice
printf '%%s\\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("sluice verd", {"verdict"}),
        ("sluice co", {"compile", "completion", "connectivity"}),
        ("sluice ledger ''", {"export", "import", "verify"}),
        ("sluice verdict --igmp", {"--igmp-type", "--igmp-group"}),
        ("sluice verdict --protocol S", {"sctp"}),
        ("sluice completion ''", {"bash", "zsh", "fish"}),
    ],
)
def test_bash_completes(words: str, completed: set[str]) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", SCRIPT % words],
        env={"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == completed


@pytest.mark.parametrize(
    ("shell", "says"), [("zsh", "#compdef sluice"), ("fish", "complete --no-files --command sluice")]
)
def test_other_shells_get_a_script(sluice, shell: str, says: str) -> None:
    assert says in sluice("completion", shell).output
