"""The status of an object in the API server, and whether it is as wanted. Pure."""

from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from sluice.contracts import codec
from sluice.policy.realisation.report import AnyStatus, Condition, PolicyStatus, at


class _Meta(Struct, rename="camel"):
    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0


class _Object(Struct):
    metadata: _Meta
    status: Any = None  # Any: JSON that others may have written


_objects = msgspec.json.Decoder(_Object)


class Live(Struct, frozen=True, kw_only=True):
    """One version of an object."""

    name: tuple[str, str]
    """Namespace and name."""

    uid: str
    version: str
    generation: int
    status: Any
    """None if there is none."""


def read(body: bytes) -> Live:
    """Decode the object.

    Raises:
        msgspec.MsgspecError: it does not decode.
    """
    made = codec.deeply(_objects.decode, body)
    meta = made.metadata
    return Live(
        name=(meta.namespace, meta.name),
        uid=meta.uid,
        version=meta.resource_version,
        generation=meta.generation,
        status=made.status,
    )


def patch(live: Live, wanted: AnyStatus, now: str, kept: frozenset[str] = frozenset()) -> bytes | None:
    """The merge patch that sets the wanted status, or None if it is set already.

    The patch only applies to this version of the object: any other is a conflict. Conditions of the types `kept` are
    left alone.
    """
    if isinstance(wanted, PolicyStatus) and not wanted.observed_generation:  # no version of it was ever taken in
        wanted = replace(wanted, observed_generation=live.generation)
    before = _conditions(live.status)
    stay = tuple(one for one in before if one.type in kept)
    status = at(replace(wanted, conditions=wanted.conditions + stay), before, now)
    held = live.status if isinstance(live.status, dict) else {}
    said = msgspec.json.decode(msgspec.json.encode(status))  # lists, as in decoded JSON
    if {field: held.get(field) for field in said} == said:
        return None
    return msgspec.json.encode({"metadata": {"resourceVersion": live.version, "uid": live.uid}, "status": said})


def _conditions(status: Any) -> tuple[Condition, ...]:
    """The conditions in the format of ours; others are overwritten."""
    found = []
    for one in status.get("conditions") or () if isinstance(status, dict) else ():
        try:
            found.append(msgspec.convert(one, Condition))
        except msgspec.ValidationError:
            continue
    return tuple(found)
