"""What node-l7 says is in force, as it says it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple

import structlog

from sluice.contracts import codec
from sluice.dataplane.l7 import handover

log = structlog.get_logger()

LOOK_S = 0.02
"""Between two looks at the file, 5 us each. An engine that died is noticed in 0.5 to 2 s; this adds to it."""


class Verified(NamedTuple):
    vlans: Mapping[str, int] = {}
    """By the digest of the rule set that is in force there."""

    deserted: tuple[int, ...] = ()
    """VLANs of rules that are gone."""


async def verified_of(path: Path) -> AsyncIterator[Verified]:
    """What is in force, now and whenever that changes; nothing while there is no such file, or one that is none."""
    seen, told = None, None
    while True:
        known = _version(path)
        if told is None or known != seen:
            seen = known
            verified = _read(path)
            if verified != told:
                told = verified
                yield verified
        await asyncio.sleep(LOOK_S)


def _version(path: Path) -> tuple[int, int, int] | None:
    """Another for each file that took its place."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _read(path: Path) -> Verified:
    try:
        said = handover.read(path.read_bytes())
    except FileNotFoundError:
        return Verified()
    except (OSError, codec.Undecodable) as error:
        log.error("hand_over_refused", file=str(path), error=str(error), instead="what needs inspection is dropped")
        return Verified()
    return Verified(said.vlans, said.deserted)
