"""The files of deploy/ agree with each other; nothing is run."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import build
import yaml
from tests.images import engine

from sluice.contracts.identities import of_service
from sluice.runtime.service import prefix

COMPOSE = engine.ROOT / "deploy" / "compose" / "compose.yaml"


def rows() -> dict[str, list[str]]:
    """The table of deploy/README.md, by image."""
    text = (engine.ROOT / "deploy" / "README.md").read_text()
    table = text.partition("| Image | User |")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines()[2:]]
    return {name: rest for name, *rest in cells}


def stage(name: str) -> str:
    """The stage's own lines, after those of what it begins with."""
    text = (engine.ROOT / "deploy" / "Dockerfile").read_text()
    found = re.search(rf"^FROM (\S+) AS {name}$(.*?)(?=^FROM |\Z)", text, re.MULTILINE | re.DOTALL)
    return stage(found[1]) + found[2] if found else ""


def test_compose_is_as_the_specification_says() -> None:
    words = ["-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    subprocess.run([sys.executable, *words], check=True)


def test_every_image_is_in_the_table_with_its_user_and_its_ports() -> None:
    assert sorted(rows()) == sorted(build.targets())
    for name, (user, _, ports, _) in rows().items():
        lines = stage(name)
        last = re.findall(r"^USER (\S+)$", lines, re.MULTILINE)[-1]
        exposed = re.findall(r"\d+", " ".join(re.findall(r"^EXPOSE (.*)$", lines, re.MULTILINE)))
        assert user.split()[0] == last, name
        assert re.findall(r"\d+", ports) == exposed, name


def test_compose_runs_images_that_are_built_with_the_capabilities_of_the_table() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    for name, service in services.items():
        target = re.search(r"/([a-z0-9-]+):\$\{SLUICE_VERSION", service["image"])
        if target and not service.get("privileged"):
            added = service.get("cap_add", [])
            assert service["cap_drop"] == ["ALL"], name
            assert service["read_only"], name
            assert all(each in rows()[target[1]][1] for each in added), name


def test_the_network_of_the_host_is_for_a_datapath() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]

    assert [name for name, service in services.items() if service.get("network_mode") == "host"] == ["node-tc"]


def test_every_service_of_the_table_is_in_compose() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    used = {
        re.sub(r".*/([a-z0-9-]+):.*", r"\1", service["image"].partition("${SLUICE_VERSION")[0])
        for service in services.values()
    }

    assert set(build.targets()) - used == {"cni"}  # `pods` does what it does


def test_each_service_is_given_its_own_key_and_nobody_else_the_keyring() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    mounted = {name: dict(mount.split(":")[:2] for mount in one.get("volumes", ())) for name, one in services.items()}
    folders = {volume: place for volume, place in mounted["keys"].items() if volume.startswith("key-")}
    has = {
        name: [volume for volume in volumes if volume in folders] for name, volumes in mounted.items() if name != "keys"
    }

    assert [name for name, volumes in mounted.items() if "keyring" in volumes] == ["keys"]
    assert [name for name, volumes in mounted.items() if "server" in volumes] == ["keys", "nats"]
    for name, service in services.items():
        environment = service.get("environment", {})
        node = environment.get(f"{prefix(name)}NODE_NAME")
        if url := environment.get(f"{prefix(name)}NATS_URL"):
            whose = of_service(name, node).text
            assert [folders[volume] for volume in has[name]] == [f"/etc/sluice/keyring/identities/{whose}"], name
            assert "tls://" in url, name
            assert mounted[name][has[name][0]] == environment[f"{prefix(name)}NATS_KEYS"], name
        elif name not in ("keys", "pods"):  # `pods` is where people ask, by the operator's
            assert not has[name], name
    assert has["pods"] == ["key-operator"]


def test_the_bus_of_compose_takes_the_keys_that_are_made_for_it(tmp_path: Path) -> None:
    """By what the service `keys` runs, again and again; files that are given out are for their group, too."""
    (tmp_path / "nats").mkdir()
    text = (COMPOSE.parent / "nats" / "nats.conf").read_text()
    (tmp_path / "nats" / "nats.conf").write_text(text.replace("/data", str(tmp_path / "data")))
    words = yaml.safe_load(COMPOSE.read_text())["services"]["keys"]["command"]
    make: list[str | Path] = [sys.executable, COMPOSE.parent / "keys.py", tmp_path / "keyring", *words]
    server: list[str | Path] = [
        Path(sys.executable).with_name("nats-server"),
        "-t",
        "-c",
        tmp_path / "nats" / "nats.conf",
    ]

    rotate: list[str | Path] = [*make[:3], "rotate", "--all"]
    said = [subprocess.run(each, check=True, capture_output=True, text=True).stdout for each in (make, make, rotate)]
    checked = subprocess.run(server, check=False, capture_output=True, text=True)

    assert "node.node-1" in said[0]
    assert said[1] == "nothing was missing\n"
    assert checked.returncode == 0, checked.stderr
    modes = {
        path.relative_to(tmp_path / "keyring").parts[0]: path.stat().st_mode & 0o777
        for path in (tmp_path / "keyring").rglob("*")
        if path.is_file()
    }
    assert modes == {"ring.json": 0o600, "authority": 0o600, "server": 0o640, "identities": 0o640}


def test_no_name_of_a_volume_begins_another() -> None:
    """Podman takes the longer one for the shorter, so podman-compose would not make that, nor remove it."""
    names = sorted(yaml.safe_load(COMPOSE.read_text())["volumes"])

    assert [(one, next_) for one, next_ in pairwise(names) if next_.startswith(one)] == []
