"""Wrong input and trouble with files, terminals and buses: the message says where, what, why and what to do."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from sluice.cli import progress

VERDICT = ["verdict", "--from", "x/a", "--to", "y/b", "--port", "80"]
READERS = (
    ["validate"],
    ["lint"],
    ["compile", "--backend", "ovs"],
    ["connectivity"],
    ["get", "netpol"],
    VERDICT,
)


@pytest.mark.parametrize("words", READERS, ids=lambda words: words[0])
def test_a_file_that_is_not_there_is_named(sluice, tmp_path, words) -> None:
    result = sluice(*words, "-f", tmp_path / "none.yaml")
    assert (result.exit_code, result.output) == (2, f"{tmp_path}/none.yaml: no such file or folder; check the path\n")


def test_what_holds_no_objects_is_said(sluice) -> None:
    """It may be meant, as what a cluster is compared with; it may be the output of a command that failed."""
    result = sluice("lint", "-f", "-", stdin="")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "0 found\n", "-: there are no objects in it\n")


WORDS = (
    (["get", "pods"], "To list objects of a kind: sluice get objects pods"),
    (["get", "acnp"], "To list objects of a kind: sluice get objects acnp"),
    (["get", "polices"], "Did you mean 'policies'?"),
    (["get", "policies", "--api", "127.0.0.1:1"], "127.0.0.1:1: not a URL; write it as http://127.0.0.1:1"),
    (["get", "status", "--nats-url", "127.0.0.1"], "127.0.0.1: not the URL of a bus; write it as nats://HOST:4222"),
    (
        ["rollback", "--to", "yesterday"],
        "--to': 'yesterday' is neither an entry of the ledger nor a time; write 1200, 2026-",
    ),
    ([*VERDICT, "--at", "10 m"], "--at': '10 m' is not a time; write 2026-07-04T12:45:21Z, or 10m for"),
    (["bisect", *VERDICT[1:], "--since", "-3"], "--since': '-3' is neither an entry"),
    (["bisect", *VERDICT[1:], "--until", "2026-13-01"], "--until': '2026-13-01' is neither an entry"),
)


@pytest.mark.parametrize(("words", "said"), WORDS, ids=lambda one: " ".join(one) if isinstance(one, list) else "")
def test_what_cannot_be_is_told_with_what_can(sluice, monkeypatch, words, said) -> None:
    monkeypatch.setattr("sluice.cli.onbus.CONNECT_S", 0.2)
    result = sluice(*words)
    assert result.exit_code == 2
    assert said in result.output


def test_a_full_disk_ends_in_words(folder: Path) -> None:
    words = [sys.executable, "-c", "from sluice.cli.main import main; main()", "validate", "-f", str(folder)]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "No space left on device; `sluice validate` cannot go on\n")


def test_standard_input_that_is_closed_is_told() -> None:
    """As cron and service managers may start it; Python has no sys.stdin then."""
    probe = "import sys; sys.stdin = None; from sluice.cli.main import main; main()"
    words = [sys.executable, "-c", probe, "validate", "-f", "-"]
    ended = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (2, "-: standard input is closed; redirect a file into it\n")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_for_terminals_alone(monkeypatch) -> None:
    for stream, shown in ((io.StringIO(), ""), (Terminal(), "\r\x1b[Kthree\r\x1b[Kfive\r\x1b[K")):
        times = iter((0.0, 0.5, 0.9, 1.0, 1.1, 1.2))
        monkeypatch.setattr(sys, "stderr", stream)
        with progress.shown(lambda: next(times)) as tell:  # noqa: B023  # is called in this round alone
            for words in ("one", "two", "three", "four", "five"):
                tell(words)
        assert stream.getvalue() == shown
