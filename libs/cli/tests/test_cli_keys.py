"""`sluice admin keys`, as an operator uses it: a folder, and what nats-server and Kubernetes get of it."""

import base64
import json
import subprocess
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from sluice.cli.main import main
from sluice.runtime import credentials
from sluice.runtime.natsserver import binary


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ring"


def keys(folder: Path, *words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["admin", "keys", words[0], "--keyring", str(folder), *words[1:]])
    assert result.exit_code == code, result.output
    return result


def listed(folder: Path) -> dict[str, dict[str, object]]:
    found = json.loads(keys(folder, "list", "-o", "json").stdout)
    return {row["identity"]: row for row in found["identities"]}


def test_there_is_a_key_for_everybody_and_the_seeds_are_ours_alone(folder: Path) -> None:
    keys(folder, "create", "--server", "nats.sluice.svc", "--node", "node-1")

    rows = listed(folder)
    assert {"person.operator", "service.ingest", "service.query-api", "node.node-1"} <= rows.keys()
    for identity, row in rows.items():
        seed = folder / "identities" / identity / "seed"
        assert seed.stat().st_mode & 0o077 == 0
        assert credentials.public_key(seed) == row["key"]
    assert "node.node-1" in keys(folder, "list").stdout


def test_to_create_again_adds_what_is_missing(folder: Path) -> None:
    keys(folder, "create", "--server", "nats", "--node", "node-1")
    before = listed(folder)
    keys(folder, "create", "--node", "node-2")
    after = listed(folder)

    assert after.keys() - before.keys() == {"node.node-2"}
    assert {name: after[name] for name in before} == before
    assert "nothing was missing" in keys(folder, "create", "--node", "node-1").stdout


def test_a_key_is_rotated_with_an_overlap(folder: Path) -> None:
    keys(folder, "create", "--server", "nats", "--node", "node-1")
    old = listed(folder)["node.node-1"]["key"]
    keys(folder, "rotate", "node.node-1")
    new = listed(folder)["node.node-1"]["key"]
    during = keys(folder, "server").stdout
    kept = keys(folder, "retire").stdout
    keys(folder, "retire", "--older-than", "0")
    after = keys(folder, "server").stdout

    assert old != new == credentials.public_key(folder / "identities" / "node.node-1" / "seed")
    assert (f'"{old}"' in during, f'"{new}"' in during) == (True, True)
    assert kept.startswith("0 keys"), "they were replaced just now"
    assert (f'"{old}"' in after, f'"{new}"' in after) == (False, True)


def test_who_is_removed_is_in_nothing_any_more(folder: Path) -> None:
    keys(folder, "create", "--server", "nats", "--node", "node-1", "--node", "node-2")
    gone = listed(folder)["node.node-2"]["key"]
    keys(folder, "remove", "node.node-2")

    assert "node.node-2" not in listed(folder)
    assert str(gone) not in keys(folder, "server").stdout
    assert not (folder / "identities" / "node.node-2").exists()


def test_the_authority_is_rotated_with_an_overlap(folder: Path) -> None:
    keys(folder, "create", "--server", "nats", "--client-certificates")
    shown = folder / "identities" / "service.ingest"
    first = (shown / "ca.crt").read_text()
    keys(folder, "renew", "--authority")
    both = (shown / "ca.crt").read_text()
    keys(folder, "retire", "--older-than", "0")
    last = (shown / "ca.crt").read_text()

    assert (first in both, last in both, first == last) == (True, True, False)
    assert [text.count("BEGIN CERTIFICATE") for text in (first, both, last)] == [1, 2, 1]


def test_nats_server_likes_its_configuration(folder: Path) -> None:
    keys(folder, "create", "--server", "127.0.0.1", "--node", "node-1", "--node", "a.b", "--client-certificates")
    file = folder / "nats.conf"
    file.write_text(keys(folder, "server").stdout + "jetstream {}\n")
    checked = subprocess.run([binary(), "-t", "-c", file], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("together", [False, True])
def test_secrets_hold_what_their_mounts_need(folder: Path, together: bool) -> None:
    keys(folder, "create", "--server", "nats", "--node", "node-1", "--node", "node-2")
    printed = keys(folder, "secrets", "--namespace", "here", *(["--nodes-together"] if together else [])).stdout
    secrets = {each["metadata"]["name"]: each for each in yaml.safe_load_all(printed)}

    def content(secret: str, file: str) -> bytes:
        return base64.b64decode(secrets[secret]["data"][file])

    assert {each["metadata"]["namespace"] for each in secrets.values()} == {"here"}
    assert b'"/etc/nats/bus/tls.crt"' in content("sluice-bus-server", "bus.conf")
    assert content("sluice-bus-ingest", "seed") == (folder / "identities/service.ingest/seed").read_bytes()
    assert secrets["sluice-bus-ingest"]["data"].keys() == {"seed", "ca.crt"}
    place, file = ("sluice-bus-nodes", "node.node-2.seed") if together else ("sluice-bus-node-node-2", "seed")
    assert content(place, file) == (folder / "identities/node.node-2/seed").read_bytes()
    assert (("sluice-bus-node-node-1" in secrets), ("sluice-bus-nodes" in secrets)) == (not together, together)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["list"], "no keyring"),
        (["create"], "give --server"),
        (["rotate", "--all"], "no keyring"),
    ],
)
def test_without_a_keyring(folder: Path, words: list[str], why: str) -> None:
    assert why in keys(folder, *words, code=2).stderr


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["rotate"], "name the identities"),
        (["rotate", "nobody"], "not an identity"),
        (["rotate", "service.nobody"], "not an identity"),
        (["rotate", "node.node-9"], "not in the keyring"),
        (["remove", "node.node-9"], "not in the keyring"),
        (["create", "--server", "another"], "chosen only when the keyring is created"),
    ],
)
def test_what_is_refused(folder: Path, words: list[str], why: str) -> None:
    keys(folder, "create", "--server", "nats")

    assert why in keys(folder, *words, code=2).stderr


def test_together_and_with_certificates_is_refused(folder: Path) -> None:
    keys(folder, "create", "--server", "nats", "--node", "node-1", "--client-certificates")

    assert "leave out --nodes-together" in keys(folder, "secrets", "--nodes-together", code=2).stderr
