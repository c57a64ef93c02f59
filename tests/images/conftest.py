"""Who may build and run images: root on Linux, with podman. What is missing fails, as with `datapath`."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.images import engine
from tests.images.stack import Stack

sys.path.insert(0, str(engine.ROOT / "deploy" / "images"))

import build  # after the path
from prepare import prepare

REPORT: list[str] = []

LAYERS = ("ingest", "node-ovs")
"""Images whose layers others begin with: these are built before them."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("images") is None:
        return
    if reason := engine.reason_to_skip():
        pytest.skip(f"images: {reason}")
    if lacking := engine.missing():
        pytest.fail(
            f"{item.name} needs {', '.join(lacking)}: run `.task/system images`, or set SLUICE_CONTAINERS=skip",
            pytrace=False,
        )


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in REPORT:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def podman() -> engine.Podman:
    return engine.Podman()


@pytest.fixture(scope="session")
def images(podman: engine.Podman) -> dict[str, str]:
    """Every image, built; the names they go by."""
    with ThreadPoolExecutor(2) as pool:  # one waits for the mirror of Debian, the other for wheels
        made = [pool.submit(prepare, build.CONTEXT), pool.submit(podman.ensure_base)]
        for each in made:
            each.result()
    command = ["podman", "build", "--isolation=chroot", "--pull=never", "--format=docker", "--layers", "--quiet"]
    names = {target: f"localhost/sluice/{target}:{engine.VERSION}" for target in build.targets()}
    first = [target for target in names if target in LAYERS]

    def make(target: str) -> None:
        podman.run(*command, *build.words(target, names[target]))

    for target in first:
        make(target)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(make, [target for target in names if target not in first]))
    stand_in = str(Path(__file__).with_name("Containerfile.prometheus"))
    podman.run(*command, "-f", stand_in, "-t", engine.PROMETHEUS, str(build.CONTEXT))
    podman("tag", names["nats"], engine.NATS)
    return names


@pytest.fixture(scope="session")
def stack(podman: engine.Podman, images: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """deploy/compose, up; with manifests of its own."""
    running = Stack(podman, tmp_path_factory.mktemp("compose"))
    try:
        running.up(images)
        REPORT.extend(running.table(images))
        yield running
    finally:
        running.down()
