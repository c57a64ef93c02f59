"""Nothing of a lab is left, whatever became of its owner."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.lab import claim, sweep

OWNER = textwrap.dedent("""
    import subprocess, sys, os
    from sluice.lab import claim, sweep
    name = sys.argv[1]
    claimed = claim.claim(name)
    children = [
        subprocess.Popen(
        ["sleep", "300"], env={**os.environ, sweep.MARK: name}, start_new_session=True, stdout=subprocess.DEVNULL
    )
        for _ in range(2)
    ]
    (claimed.folder / "deep").mkdir()
    (claimed.folder / "deep" / "file").write_text("x")
    while len(sweep.processes(name)) < len(children):
        pass
    print(claimed.guardian_pid, flush=True)
    input()
    print(claimed.release(), flush=True)
""")


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SLUICE_LAB_ROOT", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.fixture
def name() -> Iterator[str]:
    name = f"test-{os.getpid()}"
    yield name
    sweep.kill(name)


def own(name: str) -> tuple[subprocess.Popen[str], int]:
    """A process that owns a lab, and the pid of the guardian."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline())


def wait_for(pid: int) -> None:
    """Until a process that is nobody's child here has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select

    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    assert poll.poll(20_000), f"{pid} does not end"
    os.close(descriptor)


def end(owner: subprocess.Popen[str], number: int | None) -> None:
    if number is None:
        out, _ = owner.communicate("\n", timeout=30)
        assert out.strip() == "[]"
    else:
        owner.send_signal(number)
        owner.communicate(timeout=30)


@pytest.mark.parametrize("number", [None, signal.SIGTERM, signal.SIGKILL], ids=["released", "TERM", "KILL"])
def test_an_owner_that_ends_leaves_nothing(number: int | None, name: str, root: Path) -> None:
    owner, guardian = own(name)
    assert len(sweep.processes(name)) == 2
    assert [each.name for each in claim.owners()] == [name]

    end(owner, number)
    wait_for(guardian)

    assert sweep.processes(name) == []
    assert list(root.iterdir()) == []
    assert claim.owners() == []


def test_a_guardian_outlives_what_is_meant_for_the_lab(name: str, root: Path) -> None:
    owner, guardian = own(name)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(guardian, number)
    owner.kill()
    owner.communicate(timeout=30)
    wait_for(guardian)

    assert list(root.iterdir()) == []


def test_who_starts_next_sweeps_what_owner_and_guardian_left(name: str, root: Path) -> None:
    owner, guardian = own(name)
    os.kill(guardian, signal.SIGKILL)
    owner.kill()
    owner.communicate(timeout=30)
    wait_for(guardian)
    assert (root / name / "deep" / "file").exists()
    assert len(sweep.processes(name)) == 2

    assert claim.sweep_stale() == [name]

    assert sweep.processes(name) == []
    assert list(root.iterdir()) == []


def test_an_owner_sweeps_itself_when_its_guardian_was_killed(name: str, root: Path) -> None:
    owner, guardian = own(name)
    os.kill(guardian, signal.SIGKILL)
    wait_for(guardian)

    end(owner, None)

    assert sweep.processes(name) == []
    assert list(root.iterdir()) == []


def test_a_name_is_had_once(name: str) -> None:
    owner, _ = own(name)

    with pytest.raises(claim.Taken, match="it runs already"):
        claim.claim(name)
    assert claim.sweep_stale() == []

    end(owner, None)
    assert claim.claim(name).release() == []


def test_a_name_is_free_again_as_soon_as_its_guardian_is_done(name: str) -> None:
    owner, _ = own(name)
    end(owner, signal.SIGKILL)

    again = claim.claim(name)  # waits for the guardian, which is still at work or has just ended

    assert sweep.processes(name) == []
    assert again.folder.is_dir()
    assert again.release() == []


def test_a_lab_does_not_sweep_another(name: str, root: Path) -> None:
    owner, _ = own(name)
    other = claim.claim(f"{name}-b")
    assert other.release() == []

    assert len(sweep.processes(name)) == 2
    end(owner, None)


@pytest.mark.parametrize("bad", ["a.b", "A", "a_b", "-a", "a" * 33, "a/b"])
def test_names_that_no_lab_can_have(bad: str, root: Path) -> None:
    with pytest.raises(claim.BadName):
        claim.claim(bad)
    assert not root.exists()


@pytest.mark.datapath
def test_namespaces_are_found_by_their_name(name: str) -> None:
    from sluice.lab import netns

    claimed = claim.claim(name)
    paths = [netns.create(f"pod.{number}", name) for number in range(2)]
    other = netns.create("pod.0", f"{name}-b")
    try:
        assert sweep.namespaces(name) == paths
        assert claimed.release() == []
        assert sweep.namespaces(name) == []
        assert other.exists()
    finally:
        netns.remove(other)
    assert not other.exists()
