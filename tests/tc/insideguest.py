"""What runs in a guest to see that it runs there."""

import os
from pathlib import Path


def look() -> tuple[str, int, bytes]:
    return os.uname().release, os.getpid(), Path(__file__).read_bytes()


def modules() -> set[str]:
    return {line.split()[0] for line in Path("/proc/modules").read_text().splitlines()}


def backwards(body: bytes) -> bytes:
    return body[::-1]


def fail(reason: str) -> None:
    raise ValueError(reason)
