"""Builds the images of deploy/Dockerfile, from a context that is prepared first.

    python deploy/images/build.py [--engine docker|podman] [--images PREFIX] [--version TAG] [--base IMAGE] [TARGET...]

The engine is docker unless said otherwise, or podman where there is no docker. Without targets, all are built.
"""

import argparse
import re
import shutil
import subprocess

from prepare import DIGEST, ROOT, prepare

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
CONTEXT = ROOT / "dist" / "images"


def stages() -> dict[str, str]:
    """Each stage of the Dockerfile, and what it starts from."""
    found = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    return {name: base for base, name in found}


def targets() -> list[str]:
    """The images: stages that no other stage starts from."""
    known = stages()
    return [name for name in known if name not in known.values()]


def words(target: str, tag: str, base: str | None = None) -> list[str]:
    """The arguments of `podman build` or `docker build` that create the image under this tag."""
    given = ["--build-arg", f"CONTEXT={(CONTEXT / DIGEST).read_text()}"]
    given += ["--build-arg", f"PYTHON={base}"] if base else []
    return [*given, "-f", str(DOCKERFILE), "--target", target, "-t", tag, str(CONTEXT)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="docker" if shutil.which("docker") else "podman")
    parser.add_argument("--images", default="localhost/sluice")
    parser.add_argument("--version", default="dev")
    parser.add_argument("--base", help="docker.io/library/python:3.11-slim-bookworm@sha256:…")
    parser.add_argument("targets", nargs="*", metavar="TARGET", choices=[*targets(), []])
    given = parser.parse_args()
    prepare(CONTEXT)
    command = [given.engine, "build", *(["--format", "docker"] if given.engine == "podman" else [])]
    for target in given.targets or targets():
        tag = f"{given.images}/{target}:{given.version}"
        subprocess.run([*command, *words(target, tag, given.base)], check=True)


if __name__ == "__main__":
    main()
