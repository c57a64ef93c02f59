"""What every resource gets, and the parameters that many of them take."""

from typing import Annotated

from fastapi import Path, Query
from msgspec import Struct

from sluice.runtime.bus import Bus
from sluice.services.query_api.auth import Gate
from sluice.services.query_api.counts import Counts
from sluice.services.query_api.mirrors import Board
from sluice.services.query_api.moments import Moments

Seq = Annotated[int | None, Query(ge=0, le=(1 << 63) - 1, description="As it was after this entry of the ledger")]
At = Annotated[str | None, Query(max_length=64, description="As it was then, RFC 3339: 2026-07-04T12:45:21Z")]

Name = Annotated[
    str, Path(max_length=253, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$", description="Of an object")
]
InNamespace = Annotated[
    str, Path(max_length=63, pattern=r"^(_|[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)$", description="_ for none")
]


class Asking(Struct, frozen=True):
    bus: Bus
    board: Board
    moments: Moments
    gate: Gate
    counts: Counts
