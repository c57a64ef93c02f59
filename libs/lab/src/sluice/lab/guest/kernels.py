"""Which kernels there are for guests: what `.task/kernels` unpacked from Debian's packages."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluice" / "kernels"
"""Shared by every copy of the repository, and never part of one."""

DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")
"""What a module's .modinfo section says of the modules it needs, comma-separated. Source: scripts/mod/modpost.c."""


class NoKernel(Exception):
    """There is nothing to boot here, and the message says what to run for it."""


class Kernel(NamedTuple):
    image: Path
    """What QEMU boots, or the program that User-mode Linux is."""

    modules: Path
    """The folder below which its modules lie."""


def debian(cache: Path = CACHE) -> Kernel:
    """Debian's kernel for this architecture.

    Raises:
        NoKernel: it was not fetched.
    """
    return _found(cache / "debian", "boot/vmlinuz-*")


def user_mode(cache: Path = CACHE) -> Kernel:
    """The kernel as a process.

    Raises:
        NoKernel: it was not fetched.
    """
    return _found(cache / "user-mode", "usr/bin/linux.uml")


def _found(folder: Path, image: str) -> Kernel:
    images = sorted(folder.glob(image))
    if not images:
        raise NoKernel(f"{folder}: no kernel there; run `./task kernels`, which fetches Debian's packages")
    return Kernel(images[-1], folder)


def in_order(folder: Path, names: Iterable[str]) -> tuple[Path, ...]:
    """The files of these modules and of all they need, each after what it needs.

    Raises:
        NoKernel: a module is not below the folder. Modules that are built into the kernel are none: leave them out.
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
