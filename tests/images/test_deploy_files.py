"""The files of deploy/ agree with each other; nothing is run."""

import re
import subprocess
import sys

import build
import yaml
from tests.images import engine

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
