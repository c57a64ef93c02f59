"""Reads the hand-over file, in which node-l7 says which rule sets are in force."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple

import structlog

from sluice.contracts import codec
from sluice.dataplane.l7 import handover

log = structlog.get_logger()

LOOK_S = 0.02
"""Poll interval of the file; each look takes 5 us. A dead engine is noticed in 0.5 to 2 s, to which this adds."""


class Verified(NamedTuple):
    vlans: Mapping[str, int] = {}
    """VLANs by the digest of the rule set in force there."""

    deserted: tuple[int, ...] = ()
    """VLANs whose rules are gone."""


async def verified_of(path: Path) -> AsyncIterator[Verified]:
    """Yield what is in force, now and on every change; empty while the file is missing or invalid."""
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
    """Identifies the file's version: differs for each file that replaces it."""
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
