"""`sluice diff` and `sluice plan` on manifests: what would be otherwise, and how they end."""

import json
import shutil
from pathlib import Path

import pytest

from sluice.cli import differing

DENY = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: y}
spec: {podSelector: {}, policyTypes: [Egress]}
"""
LINE = (
    "2026/07/04 12:45:21.804416 IngressRule K8sNetworkPolicy:x/to-a <nil> Ingress Allow 190 x/a {} 40000 {} 80 TCP 60 "
    "<nil>"
)
B_TO_A = LINE.format("10.0.0.2", "10.0.0.1")


@pytest.fixture
def changed(folder: Path) -> Path:
    """The same with a policy more."""
    other = folder.with_name("changed")
    shutil.copytree(folder, other)
    (other / "deny.yaml").write_text(DENY)
    return other


def test_equal_folders_do_not_differ(sluice, folder) -> None:
    result = sluice("diff", folder, folder)
    assert (result.exit_code, result.output) == (0, "no difference\n")


def test_what_a_policy_more_changes(sluice, folder, changed) -> None:
    result = sluice("diff", folder, changed)
    said = [" ".join(line.split()) for line in result.output.splitlines()]
    assert said[:3] == ["programs", "added NetworkPolicy y/deny 0 rules", "reachability"]
    assert "closed y/b -> x/a TCP 80" in said
    assert not any(line.startswith("opened") for line in said)
    assert result.exit_code == 1
    back = json.loads(sluice("diff", changed, folder, "-o", "json").output)
    assert {"source": "y/b", "destination": "x/a", "protocol": "TCP", "opened": [[80, 80]], "closed": []} in back[
        "reachability"
    ]


def test_a_rule_more_is_told_as_a_rule(sluice, folder, changed) -> None:
    (changed / "deny.yaml").unlink()
    policy = changed / "policy.yaml"
    policy.write_text(policy.read_text() + "    - ports: [{port: 443}]\n")
    said = sluice("diff", folder, changed).output
    assert "NetworkPolicy x/to-a" in said
    assert "ingress rule 2 added" in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name two folders"),
        (["only-one"], "name two folders"),
        (["--seq", "12"], "'12' is not A..B"),
        (["--seq", "a..b"], "'a..b' is not A..B"),
    ],
)
def test_what_names_no_two_states_is_refused(sluice, words, said) -> None:
    result = sluice("diff", *words)
    assert result.exit_code == 2
    assert said in result.output


def test_a_plan_tells_which_recorded_connections_end_otherwise(sluice, folder, tmp_path) -> None:
    deny, log = tmp_path / "deny.yaml", tmp_path / "np.log"
    deny.write_text(DENY)
    log.write_text(f"{B_TO_A}\n{LINE.format('192.0.2.1', '10.0.0.1')}\n{B_TO_A}\n")
    result = sluice("plan", "-f", deny, "--against", folder, "--log", log)
    said = [" ".join(line.split()) for line in result.output.splitlines()]
    assert said[-2:] == [
        "recorded connections: 1 of 3 log entries would have another outcome",
        "now Dropped 10.0.0.2 -> 10.0.0.1 TCP 80 was Allowed, 2 times",
    ]
    assert result.exit_code == 1
    told = json.loads(sluice("plan", "-f", deny, "--against", folder, "--log", log, "-o", "json").output)
    assert [one["after"] for one in told["connections"]] == ["Dropped"]


def test_a_plan_that_concerns_too_many_pods_says_so(sluice, folder, changed, monkeypatch) -> None:
    monkeypatch.setattr(differing, "MOST_PAIRS", 1)

    told = sluice("diff", folder, changed)
    as_json = json.loads(sluice("diff", folder, changed, "-o", "json").output)

    assert told.exit_code == 1
    assert "the change concerns too many: there are more than 1 pairs" in told.output
    assert as_json["reachability"] is None


def test_a_plan_of_what_is_there_changes_nothing(sluice, folder) -> None:
    result = sluice("plan", "-f", folder / "policy.yaml", "--against", folder)
    assert result.output.splitlines()[0] == "no difference"
    assert result.exit_code == 0


def test_a_plan_to_delete(sluice, folder) -> None:
    result = sluice("plan", "--delete", "netpol/to-a", "-n", "x", "--against", folder)
    assert "removed" in result.output
    assert "opened" in result.output
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("netpol/other", "-n", "x"), "there is no NetworkPolicy x/other; check its name and -n"),
        (("NetworkPolicy/to-a",), "there is no NetworkPolicy default/to-a; there is one in Namespace x: give -n x"),
        (("acnp/to-a",), "there is no ClusterNetworkPolicy to-a; check its name"),
    ],
)
def test_what_is_not_there_is_named_as_it_was_written(sluice, folder, words, said) -> None:
    missing = sluice("plan", "--delete", *words, "--against", folder)
    assert missing.exit_code == 2
    assert missing.output == f"--delete {words[0]}: among the manifests of --against {folder} {said}\n"


def test_a_line_that_is_none_is_named(sluice, folder, tmp_path) -> None:
    log = tmp_path / "np.log"
    log.write_text(f"{B_TO_A}\nrubbish\n")
    result = sluice("plan", "-f", folder, "--against", folder, "--log", log)
    assert result.exit_code == 2
    assert f"{log}:2: not a line of np.log" in result.output


def test_a_plan_of_nothing_is_refused(sluice, folder) -> None:
    result = sluice("plan", "--against", folder)
    assert result.exit_code == 2
    assert "name what is to change" in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--seq", "1", "--at", "10m"], "each of them names a moment"),
        (["-f", ".", "--seq", "1"], "manifests have no past"),
    ],
)
def test_a_moment_is_named_once(sluice, words, said) -> None:
    result = sluice("verdict", "--from", "x/a", "--to", "y/b", "--port", "80", *words)
    assert result.exit_code == 2
    assert said in result.output
