"""The kernels available for guests: those that `.task/kernels` unpacked from Debian's packages."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluice" / "kernels"
"""Shared by all copies of the repository, and part of none."""

DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
"""The dependencies in a module's .modinfo section, comma-separated. Source: scripts/mod/modpost.c."""


class NoKernel(Exception):
    """There is no kernel to boot; the message says what to run to get one."""


class Kernel(NamedTuple):
    image: Path
    """The image that QEMU boots, or the User-mode Linux executable."""

    modules: Path
    """The folder of its modules."""


def debian(cache: Path = CACHE) -> Kernel:
    """Debian's kernel for this architecture.

    Raises:
        NoKernel: it was not fetched.
    """
    return _found(cache / "debian", "boot/vmlinuz-*")


def user_mode() -> Kernel:
    """The User-mode Linux kernel.

    Raises:
        NoKernel: it was not fetched.
    """
    return _found(CACHE / "user-mode", "usr/bin/linux.uml")


def _found(folder: Path, image: str) -> Kernel:
    images = sorted(folder.glob(image))
    if not images:
        raise NoKernel(f"{folder}: no kernel there; run `./task kernels`, which fetches Debian's packages")
    return Kernel(images[-1], folder)


def in_order(folder: Path, names: Iterable[str]) -> tuple[Path, ...]:
    """The files of these modules and of all their dependencies, dependencies first.

    Raises:
        NoKernel: a module is not below the folder. Modules built into the kernel have no file: leave them out.
    """
    files = {path.stem.replace("-", "_"): path for path in folder.rglob("*.ko")}
    order: dict[str, Path] = {}

    def visit(name: str) -> Iterator[Path]:
        if name in order:
            return
        if name not in files:
            raise NoKernel(f"{folder}: no module {name}; has the package changed? see `./task kernels`")
        found = DEPENDS.search(files[name].read_bytes())
        for needed in found.group(1).decode().split(",") if found else ():
            if needed:
                yield from visit(needed.replace("-", "_"))
        order[name] = files[name]
        yield files[name]

    return tuple(path for name in names for path in visit(name))
