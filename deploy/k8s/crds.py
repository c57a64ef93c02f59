"""Write the CustomResourceDefinitions of base/crds/, generated from the rules of admission; --check compares.

.venv/bin/python deploy/k8s/crds.py
"""

import argparse
import sys
from pathlib import Path

import yaml

from sluice.admission.crd.all import definitions

FOLDER = Path(__file__).parent / "base" / "crds"
HEAD = "# Made by deploy/k8s/crds.py of the rules in libs/admission; a test sees that it is so.\n"


class _Plain(yaml.SafeDumper):
    """Writes repeated parts out in full: kubectl understands aliases, people do not."""

    def ignore_aliases(self, data: object) -> bool:  # PyYAML's signature
        return True


def texts() -> dict[str, str]:
    """The expected content of each file."""
    made = definitions()
    files = {name: HEAD + yaml.dump(each, Dumper=_Plain, sort_keys=False, width=120) for name, each in made.items()}
    listed = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": sorted(files)}
    return {**files, "kustomization.yaml": HEAD + yaml.dump(listed, Dumper=_Plain, sort_keys=False)}


def main(arguments: list[str] | None = None) -> int:
    """0 if all is well, 1 if a file is not as expected."""
    parser = argparse.ArgumentParser(description="The CustomResourceDefinitions.")
    parser.add_argument("--check", action="store_true", help="fail if a file is not what the rules say")
    chosen = parser.parse_args(arguments)
    wanted = texts()
    stored = {path.name: path.read_text() for path in FOLDER.glob("*.yaml")}
    if chosen.check:
        for name in sorted(wanted.keys() | stored.keys()):
            if wanted.get(name) != stored.get(name):
                print(f"{FOLDER / name}: not what the rules say; run {Path(__file__).name}", file=sys.stderr)
        return int(wanted != stored)
    for name in stored.keys() - wanted.keys():
        (FOLDER / name).unlink()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in wanted.items():
        (FOLDER / name).write_text(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
