"""The archive that a kernel unpacks as its initial root: a cpio file in the "newc" format.

Source: Documentation/driver-api/early-userspace/buffer-format.rst.
"""

import stat
from collections.abc import Mapping
from typing import NamedTuple


class Entry(NamedTuple):
    body: bytes
    mode: int


def folder() -> Entry:
    return Entry(b"", stat.S_IFDIR | 0o755)


def file(body: bytes, *, executable: bool = False) -> Entry:
    return Entry(body, stat.S_IFREG | (0o755 if executable else 0o644))


def link(target: str) -> Entry:
    return Entry(target.encode(), stat.S_IFLNK | 0o777)


def archive(entries: Mapping[str, Entry]) -> bytes:
    """The archive with these entries, by path without a leading slash; folders must come before their contents."""
    parts = [_record(number, path, entry) for number, (path, entry) in enumerate(entries.items(), start=1)]
    return b"".join((*parts, _record(0, "TRAILER!!!", Entry(b"", 0))))


def _record(inode: int, path: str, entry: Entry) -> bytes:
    name = path.encode() + b"\0"
    links, device = 1, 0
    numbers = (inode, entry.mode, 0, 0, links, 0, len(entry.body), device, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08x" % number for number in numbers) + name
    return _padded(head) + _padded(entry.body)


def _padded(body: bytes) -> bytes:
    return body + bytes(-len(body) % 4)
