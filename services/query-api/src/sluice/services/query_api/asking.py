"""What every resource gets, and the parameters that many of them take."""

from typing import Annotated, Any

from fastapi import Path, Query
from msgspec import Struct

from sluice.contracts.kinds import Kind
from sluice.runtime.bus import Bus
from sluice.services.query_api.auth import Gate
from sluice.services.query_api.counts import Counts
from sluice.services.query_api.mirrors import Board
from sluice.services.query_api.moments import Moments

Seq = Annotated[
    int | None, Query(ge=0, le=(1 << 63) - 1, description="The state after this entry of the ledger. Default: now")
]
At = Annotated[
    str | None, Query(max_length=64, description="The state at this time, RFC 3339: 2026-07-04T12:45:21Z. Default: now")
]


def _named(what: str) -> Any:  # Any: FastAPI takes it as metadata of any type
    return Path(max_length=253, pattern=r"^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$", description=what)


Name = Annotated[str, _named("Name of the object")]
InGroup = Annotated[str, _named("Identifier of the group")]
OnNode = Annotated[str, _named("Name of the node")]
OfKind = Annotated[Kind, Path(description=f"Kind of the object: {', '.join(Kind)}")]
InNamespace = Annotated[
    str,
    Path(
        max_length=63,
        pattern=r"^(_|[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)$",
        description="Namespace of the object; _ for kinds without",
    ),
]


class Asking(Struct, frozen=True):
    bus: Bus
    board: Board
    moments: Moments
    gate: Gate
    counts: Counts
