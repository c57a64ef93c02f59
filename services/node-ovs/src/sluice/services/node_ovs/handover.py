"""What node-l7 says is in force, as it says it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import structlog

from sluice.contracts import codec
from sluice.dataplane.l7 import handover

log = structlog.get_logger()

LOOK_S = 0.02
"""Between two looks at the file, 5 us each. An engine that died is noticed in 0.5 to 2 s; this adds to it."""


async def verified_of(path: Path) -> AsyncIterator[Mapping[str, int]]:
    """The VLANs by the digest of the rule set that is in force there, now and whenever that changes.

    While there is no such file, or one that is none, nothing is in force.
    """
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


def _read(path: Path) -> Mapping[str, int]:
    try:
        return handover.read(path.read_bytes()).vlans
    except FileNotFoundError:
        return {}
    except (OSError, codec.Undecodable) as error:
        log.error("hand_over_refused", file=str(path), error=str(error), instead="what needs inspection is dropped")
        return {}
