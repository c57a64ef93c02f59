"""A new member is one folder and a line in each list of the root pyproject.toml: the lists are held to the folders."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = packages_distributions()
SETTINGS: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
MEMBERS = sorted(path.parent for kind in ("libs", "services") for path in ROOT.glob(f"{kind}/*/pyproject.toml"))
MODULES = {member: member.name.replace("-", "_") for member in MEMBERS}


def portion(member: Path) -> str:
    middle = "services." if member.parent.name == "services" else ""
    return f"sluice.{middle}{MODULES[member]}"


def needs(member: Path) -> list[str]:
    """What a member asks for, extras included."""
    own = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    return [*own["dependencies"], *(text for extra in own.get("optional-dependencies", {}).values() for text in extra)]


def package(text: str) -> str:
    """The package that a requirement names, in the spelling that all its spellings share."""
    return re.split(r"[\[<>=~; ]", text)[0].lower().replace("_", "-")


def imports(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), level=0):
            return [module]
        case _:
            return []


@pytest.fixture(params=MEMBERS, ids=lambda path: path.relative_to(ROOT).as_posix())
def member(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def test_every_folder_is_a_member() -> None:
    folders = {
        path for kind in ("libs", "services") for path in ROOT.glob(f"{kind}/*") if any(path.glob("src/**/*.py"))
    }

    assert folders == set(MEMBERS)


def test_the_types_of_a_member_are_checked(member: Path) -> None:
    assert f"$MYPY_CONFIG_FILE_DIR/{member.relative_to(ROOT).as_posix()}/src" in SETTINGS["tool"]["mypy"]["mypy_path"]
    assert (member / "src" / Path(*portion(member).split(".")) / "py.typed").is_file()


def test_the_imports_of_a_member_are_checked(member: Path) -> None:
    linter = SETTINGS["tool"]["importlinter"]
    contracts = {contract["id"]: contract for contract in linter["contracts"]}
    layered = {name.strip() for layer in contracts["layers"]["layers"] for name in layer.split("|")}

    assert portion(member) in linter["root_packages"]
    assert portion(member) in (layered if member.name != "testkit" else contracts["testkit"]["source_modules"])
    assert portion(member) in contracts["product"]["source_modules"] or member.name in ("testkit", "lab", "cli")


def test_a_member_says_what_it_is(member: Path) -> None:
    own = tomllib.loads((member / "pyproject.toml").read_text())

    assert own["project"]["name"] == portion(member).replace(".services.", "-service-").replace(".", "-").replace(
        "_", "-"
    )
    assert own["project"]["requires-python"] == ">=3.11"
    assert own["tool"]["uv"]["build-backend"]["module-name"] == portion(member)


def test_a_member_names_the_members_that_it_imports(member: Path) -> None:
    """Its image has no others."""
    own = tomllib.loads((member / "pyproject.toml").read_text())["project"]
    named = {re.split(r"[\[<>=~; ]", text)[0] for text in own["dependencies"]} | {own["name"]}
    imported = {
        name
        for file in member.glob("src/**/*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
        for name in {f"{node.module}.{alias.name}." for alias in node.names}
    }
    projects = {portion(each) + ".": portion(each).replace(".services.", "-service-") for each in MEMBERS}
    wanted = {
        project.replace(".", "-").replace("_", "-")
        for prefix, project in projects.items()
        if any(name.startswith(prefix) for name in imported)
    }

    assert sorted(wanted - named) == []


def test_a_member_names_the_packages_of_others_that_it_imports(member: Path) -> None:
    """And does not rely on members that bring them."""
    named = {package(text) for text in needs(member)}
    imported = {
        name.partition(".")[0]
        for file in member.glob("src/**/*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        for name in imports(node)
    }
    theirs = imported - sys.stdlib_module_names - {"sluice"}

    assert theirs <= PACKAGES.keys()
    assert [name for name in sorted(theirs) if named.isdisjoint(map(package, PACKAGES[name]))] == []


def test_members_ask_for_a_package_in_the_same_words() -> None:
    asked: dict[str, set[str]] = {}
    for each in MEMBERS:
        for text in needs(each):
            asked.setdefault(package(text), set()).add(re.sub(r"\[.*?\]", "", text))

    assert {name: words for name, words in asked.items() if len(words) > 1} == {}


@pytest.mark.parametrize("folder", ["src/sluice", "src/sluice/services"])
def test_the_namespace_stays_open(member: Path, folder: str) -> None:
    assert not (member / folder / "__init__.py").exists()


def test_the_lock_file_names_no_host() -> None:
    lock = (ROOT / "requirements.lock").read_text()

    assert [line for line in lock.splitlines() if "://" in line or line.startswith(("-", "."))] == []
    assert lock.count("--hash=sha256:") >= lock.count("==")
