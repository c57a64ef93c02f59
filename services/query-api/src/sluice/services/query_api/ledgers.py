"""/v1/ledger: how far back the past goes, and whether it is unaltered."""

from fastapi import APIRouter, Request, Response
from msgspec import Struct

from sluice.contracts.codec import Undecodable
from sluice.ledger.times import written
from sluice.runtime import past
from sluice.runtime.streams import Missing
from sluice.services.query_api import answers
from sluice.services.query_api.asking import Asking
from sluice.services.query_api.auth import Scope
from sluice.services.query_api.problems import Problem


class CheckpointRow(Struct, frozen=True, kw_only=True):
    first: int
    last: int
    time: str
    head: str
    objects: int


class LedgerState(Struct, frozen=True, kw_only=True):
    """The entries that the ledger has, and the checkpoints that vouch for them."""

    epoch: int
    first: int
    """Sequence of the oldest entry."""

    last: int
    checkpoints: tuple[CheckpointRow, ...]


class Fault(Struct, frozen=True, kw_only=True):
    """Something that was changed or removed in the ledger."""

    sequence: int
    fault: str
    says: str


class Verification(Struct, frozen=True, kw_only=True):
    """How many entries checkpoints vouch for, how many are too new for one, and the faults found."""

    checked: int
    uncovered: int
    head: str
    faults: tuple[Fault, ...]


def router(asking: Asking) -> APIRouter:
    routes = APIRouter(prefix="/v1/ledger", tags=["ledger"])

    @routes.get("", responses=answers.told(LedgerState), summary="How far back the ledger goes, and its checkpoints")
    async def state(request: Request) -> Response:
        asking.gate.require(request, Scope.READ)
        try:
            here = await past.reach(asking.bus)
            known = await past.checkpoints(asking.bus, here.epoch)
        except (Missing, Undecodable) as error:
            raise Problem(503, str(error)) from error
        rows = (
            CheckpointRow(first=one.first, last=one.last, time=written(one.time_ns), head=one.head, objects=one.objects)
            for one in known
        )
        return answers.json(
            request, LedgerState(epoch=here.epoch, first=here.first, last=here.last, checkpoints=tuple(rows))
        )

    @routes.get(
        "/verification", responses=answers.told(Verification), summary="Verify the ledger against its checkpoints"
    )
    async def verification(request: Request) -> Response:
        asking.gate.require(request, Scope.READ)
        try:
            found = await past.verified(asking.bus)
        except (Missing, Undecodable) as error:
            raise Problem(503, str(error)) from error
        faults = tuple(Fault(sequence=one.sequence, fault=one.fault, says=one.says) for one in found.findings)
        return answers.json(
            request, Verification(checked=found.checked, uncovered=found.uncovered, head=found.head, faults=faults)
        )

    return routes
