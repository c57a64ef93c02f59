"""/v1/trafficcontrols: what each does, where it is in force, and its packet counts."""

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Struct

from sluice.contracts import codec, subjects
from sluice.contracts.ids import Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.stats import TrafficCount
from sluice.contracts.traffic_control import TrafficControl
from sluice.grouping.events import key_of
from sluice.services.query_api import answers
from sluice.services.query_api.answers import LIMIT, Meta
from sluice.services.query_api.asking import Asking, At, Name, Seq
from sluice.services.query_api.auth import Scope
from sluice.services.query_api.moments import Moment
from sluice.services.query_api.problems import Problem


class Became(Struct, frozen=True, kw_only=True):
    """Numbers of packets since the programmer of each node started.

    A packet that several TrafficControls copy to the same target counts once.
    """

    mirrored: int = 0
    redirected: int = 0
    dropped: int = 0


class Control(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A TrafficControl, how far it is in force, and what it did with packets."""

    name: str
    revision: str
    spec: msgspec.Raw
    """As written."""

    phase: str = ""
    """How far it is in force; empty for the past."""

    nodes: str = ""
    why: str = ""
    warning: str = ""
    """What is probably a mistake."""

    packets: Became | None = None
    """Unset for the past, and while the bus does not answer."""


class ControlList(Struct, frozen=True, kw_only=True):
    metadata: Meta
    items: tuple[Control, ...]


EXAMPLE = ControlList(
    metadata=Meta(revision="1793459220000000.42"),
    items=(
        Control(
            name="mirror-web-app",
            revision="1793459220000000.40",
            spec=msgspec.Raw(
                b'{"action":"Mirror","appliedTo":{"podSelector":{"matchLabels":{"app":"web"}}},"direction":"Both",'
                b'"targetPort":{"ovsInternal":{"name":"tap0"}}}'
            ),
            phase="Realized",
            nodes="2/2",
            packets=Became(mirrored=1204),
        ),
    ),
)


def router(asking: Asking) -> APIRouter:
    routes = APIRouter(prefix="/v1/trafficcontrols", tags=["trafficcontrols"])

    @routes.get("", responses=answers.told(ControlList, EXAMPLE), summary="TrafficControls, sorted by name")
    async def listed(
        *,
        request: Request,
        seq: Seq = None,
        at: At = None,
        limit: answers.Limit = LIMIT,
        continue_: answers.Continue = "",
    ) -> Response:
        asking.gate.require(request, Scope.READ)
        there = await asking.moments.find(seq, at)
        keys, more = answers.page((one for one in there.values if one.startswith(_ALL)), limit, continue_)
        meta = Meta(revision=answers.revision_text(there.revision), more=more)
        return answers.json(request, ControlList(metadata=meta, items=await _controls(asking, there, keys)))

    @routes.get("/{name}", responses=answers.told(Control, EXAMPLE.items[0]), summary="One TrafficControl")
    async def one(*, request: Request, name: Name, seq: Seq = None, at: At = None) -> Response:
        asking.gate.require(request, Scope.READ)
        there = await asking.moments.find(seq, at)
        key = subjects.object_(Kind.TRAFFIC_CONTROL, "", name)
        found = await _controls(asking, there, [key] if key in there.values else [])
        if not found:
            raise Problem(404, f"{name}: there is no such TrafficControl at revision {there.revision.sequence}")
        return answers.json(request, found[0])

    return routes


_ALL = f"objects.{Kind.TRAFFIC_CONTROL}."


async def _controls(asking: Asking, there: Moment, keys: Iterable[str]) -> tuple[Control, ...]:
    """The TrafficControls with these subjects, in this order."""
    controls = [one for one in there.of(keys, (Kind.TRAFFIC_CONTROL,)) if isinstance(one, TrafficControl)]
    counted = await asking.counts.newest() if there.is_now and controls else None
    return tuple(_told(asking, there, controls, counted.traffic if counted else None))


class _Written(Struct):
    spec: msgspec.Raw


def _told(
    asking: Asking, there: Moment, controls: list[TrafficControl], counts: Mapping[Unit, TrafficCount] | None
) -> Iterator[Control]:
    for control in controls:
        key = key_of(control)
        version, said = there.values[subjects.object_(*key)], asking.board.realised(key) if there.is_now else None
        count = counts.get(subjects.unit(*key)) if counts is not None else None
        yield Control(
            name=key.name,
            revision=answers.revision_text(version.revision),
            spec=codec.decode(version.body, _Written).spec,
            phase=said.phase if said else "",
            nodes=said.nodes if said else "",
            why=said.why if said else "",
            warning=asking.board.warning(subjects.unit(*key)) if there.is_now else "",
            packets=None if counts is None else _became(count),
        )


def _became(count: TrafficCount | None) -> Became:
    if count is None:
        return Became()
    return Became(mirrored=count.mirrored, redirected=count.redirected, dropped=count.dropped)
