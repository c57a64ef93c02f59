"""The command line that old DaemonSets have."""

import os
import subprocess
import sys

import pytest

from sluice.services.node_tc.flags import BadFlag, Flags, parse

TAKEN = [
    ([], {}),
    (["--hostname-override", "node-7"], {"NODE_NAME": "node-7"}),
    (["--hostname-override="], {}),
    (
        ["--network-plugins=accelerated-bridge,mine", "--pod-rules-path", "/rules"],
        {
            "NETWORK_PLUGINS": "accelerated-bridge,mine",
            "POD_RULES_PATH": "/rules",
        },
    ),
    (["-hostname-override=node-7"], {"NODE_NAME": "node-7"}),
]


@pytest.mark.parametrize(("arguments", "expected"), TAKEN, ids=[" ".join(given) or "nothing" for given, _ in TAKEN])
def test_what_means_something_is_a_setting(arguments: list[str], expected: dict[str, str]) -> None:
    assert parse(arguments) == Flags(expected, ())


def test_what_klog_takes_is_passed_over_and_said_once() -> None:
    given = parse(["-v", "4", "--v=5", "--alsologtostderr", "--logtostderr=false", "--log-flush-frequency", "5s"])

    assert given.environment == {}
    assert len(given.warnings) == 1
    assert given.warnings[0].startswith("--v, --alsologtostderr, --logtostderr, --log-flush-frequency: ")


def test_what_somebody_else_needs_now_is_told() -> None:
    given = parse(["--kubeconfig=/etc/k", "--master", "https://k", "--kubeconfig", "/etc/k"])

    assert [warning.split(":")[0] for warning in given.warnings] == ["--kubeconfig", "--master"]
    assert all("ingest" in warning for warning in given.warnings)


REFUSED = [
    (["--accept-everything"], "has no such flag"),
    (["--accept-everything=true"], "has no such flag"),
    (["--hostname-override"], "takes a value"),
    (["node-7"], "takes only flags"),
    (["--"], "takes only flags"),
]


@pytest.mark.parametrize(("arguments", "says"), REFUSED, ids=[given[0] for given, _ in REFUSED])
def test_what_is_not_understood_is_refused(arguments: list[str], says: str) -> None:
    with pytest.raises(BadFlag, match=says):
        parse(arguments)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [(["--help"], 0, "--pod-rules-path FOLDER"), (["--no-such"], 2, "has no such flag")],
)
def test_the_program(arguments: list[str], code: int, says: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sluice.services.node_tc", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "SLUICE_NODE_TC_NATS_URL": "nats://127.0.0.1:9"},
    )

    assert done.returncode == code
    assert says in done.stdout + done.stderr
