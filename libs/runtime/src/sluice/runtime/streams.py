"""The owner of the streams: creates them as `sluice.contracts.streams` defines, and keeps mirrors consistent."""

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

import structlog
from nats.js import api
from nats.js.errors import BadRequestError, NotFoundError, ServiceUnavailableError

from sluice.contracts.streams import DUPLICATE_WINDOW_S, STREAMS, StreamSpec
from sluice.contracts.subjects import LIVE
from sluice.runtime import lease
from sluice.runtime.bus import Bus, Limits
from sluice.runtime.patience import patiently

__all__ = ["STREAMS", "Origin", "config", "ensure", "epoch", "last_of", "origin", "surely"]

log = structlog.get_logger()

_LOOKS = 12  # before we believe replicas whose answers contradict what we have seen
_LOOK_PAUSE_S = 1.0
_NO_MESSAGE = 10037  # JSNoMessageFoundErr: the stream exists
_OTHER_CONFIG = 10058  # JSStreamNameExistErr: the stream exists with another configuration


class Origin(NamedTuple):
    """Identifies an incarnation of a stream, and how far it goes."""

    created: int
    """Creation of the stream itself, microseconds since 1970."""

    epoch: int
    """Epoch of its revisions: the creation of the stream whose sequences it has (for a mirror, the source)."""

    last_sequence: int

    replicated: bool = False
    """It has replicas on several servers, which may lag."""


NOT_OURS = "this is not the bus of Sluice, or its services have not started: start them, or name another bus"


class Missing(Exception):
    """The stream does not exist, or is a mirror that is inconsistent with its source."""


def config(spec: StreamSpec, limits: Limits) -> api.StreamConfig:
    return api.StreamConfig(
        name=spec.name,
        subjects=list(spec.subjects) or None,
        mirror=api.StreamSource(name=spec.mirror) if spec.mirror else None,
        storage=api.StorageType.FILE,
        num_replicas=limits.replicas,
        max_bytes=limits.max_bytes,
        max_msgs_per_subject=1 if spec.last_per_subject else -1,
        max_age=spec.max_age_s or None,
        discard=api.DiscardPolicy(spec.discard),
        allow_direct=spec.direct,
        allow_msg_ttl=True,
        duplicate_window=0 if spec.mirror else min(DUPLICATE_WINDOW_S, spec.max_age_s or DUPLICATE_WINDOW_S),
        republish=_republish(spec),
        # subject_delete_marker_ttl stays unset: it would create a second tombstone whenever one expires
    )


def _republish(spec: StreamSpec) -> api.RePublish | None:
    if not spec.republish:
        return None
    (pattern,) = spec.subjects
    return api.RePublish(src=pattern, dest=LIVE + pattern)


async def ensure(bus: Bus) -> None:
    """Create missing streams, and recreate mirrors that do not reflect their source. Idempotent; retries on trouble.

    On a bus with identities, one of them is responsible for this; under any other this does nothing.

    A mirror is recreated if its source was created after it, or ends before it: JetStream would keep the old messages,
    skip new ones up to the old end, and report no lag.
    """
    if not bus.owns_streams:  # the owner does it; readers and writers wait for that
        return
    async with bus.ensuring:
        for spec in bus.specs.values():
            await patiently(bus, lambda spec=spec: _make(bus, spec))  # type: ignore[misc]  # the default binds `spec` now
            if spec.mirror and await _stale(bus, spec):
                log.warning("mirror_made_anew", stream=spec.name, source=spec.mirror)
                await patiently(bus, lambda spec=spec: _drop(bus, spec))  # type: ignore[misc]  # as above
                await patiently(bus, lambda spec=spec: _make(bus, spec))  # type: ignore[misc]  # as above

        if bus.credentials:  # holders of leases may not create the bucket for them
            await patiently(bus, lambda: lease.make_bucket(bus))


async def _make(bus: Bus, spec: StreamSpec) -> None:
    wanted = config(spec, bus.limits)
    try:
        await bus.js.add_stream(wanted)
    except BadRequestError as error:
        if error.err_code != _OTHER_CONFIG:
            raise
        await bus.js.update_stream(wanted)
        log.info("stream_changed", stream=spec.name)


async def _drop(bus: Bus, spec: StreamSpec) -> None:
    try:
        await bus.js.delete_stream(spec.name)
    except NotFoundError:
        return


async def _stale(bus: Bus, spec: StreamSpec) -> bool:
    """Whether the mirror is stale in several looks in a row: with replicas, a single look may be out of date."""
    for look in range(_LOOKS if bus.limits.replicas > 1 else 1):
        await asyncio.sleep(look and _LOOK_PAUSE_S)
        try:
            await origin(bus, spec.name)
        except Missing:
            continue
        return False
    return True


async def origin(bus: Bus, stream: str) -> Origin:
    """The current incarnation of the stream.

    Raises:
        Missing: it does not exist, or is a mirror that must be recreated.
    """
    spec = bus.specs.get(stream)
    try:
        # The mirror first, since its source can only grow between the two requests.
        own = await told(bus, stream)
        source = await told(bus, spec.mirror) if spec and spec.mirror else own
    except NotFoundError as error:
        raise Missing(f"there is no stream {stream}; {NOT_OURS}") from error
    created, source_created = _microseconds(own), _microseconds(source)
    if created < source_created or own.state.last_seq > source.state.last_seq:
        raise Missing(f"the stream {stream} is still a mirror of an earlier {source.config.name}; try again")
    return Origin(created, source_created, own.state.last_seq, _replicated(own))


def _replicated(info: api.StreamInfo) -> bool:
    return bool(info.cluster and info.cluster.replicas)


async def surely(bus: Bus, stream: str, created: int, seen: int) -> Origin:
    """The stream's origin. If a known incarnation seems to have lost messages, ask repeatedly before believing it.

    A leader that is partitioned from its peers considers itself the leader for ten seconds, and a new leader may still
    have to apply what the old one acknowledged. A caller that starts over in that case withdraws what it has derived.

    Args:
        created: creation of the known incarnation.
        seen: the highest sequence seen of it.

    Raises:
        Missing: it does not exist, or is a mirror that must be recreated.
    """
    looks = 1
    here = await origin(bus, stream)
    while looks < _LOOKS and here.replicated and here.created == created and here.last_sequence < seen:
        log.info("stream_lags", stream=stream, ends=here.last_sequence, seen=seen, look=looks)
        await asyncio.sleep(_LOOK_PAUSE_S)
        looks, here = looks + 1, await origin(bus, stream)
    return here


async def last_of(bus: Bus, stream: str, patterns: Iterable[str]) -> int:
    """The sequence of the last message that the stream's leader has on these patterns; 0 if there is none.

    Raises:
        NotFoundError: there is no such stream.
    """
    last = 0
    for pattern in patterns:
        try:
            message = await patiently(bus, lambda pattern=pattern: bus.js.get_msg(stream, subject=pattern))  # type: ignore[misc]  # the default binds `pattern` now
        except NotFoundError as error:
            if error.err_code != _NO_MESSAGE:
                raise
        else:
            last = max(last, message.seq or 0)
    return last


async def told(bus: Bus, stream: str) -> api.StreamInfo:
    """Information on the stream from its leader. Waits until there is one.

    Without a leader, any replica may answer, possibly with less than was acknowledged.

    Raises:
        NotFoundError: there is no such stream.
    """
    return await patiently(bus, lambda: _led(bus, stream))


async def _led(bus: Bus, stream: str) -> api.StreamInfo:
    info = await bus.js.stream_info(stream)
    if info.cluster is not None and not info.cluster.leader:
        raise ServiceUnavailableError(description=f"{stream}: its replicas have no leader")
    return info


async def epoch(bus: Bus, stream: str) -> int:
    """The epoch of the stream's revisions.

    Raises:
        Missing: there is no such stream.
    """
    return (await origin(bus, stream)).epoch


def _microseconds(info: api.StreamInfo) -> int:
    created = info.created
    if created is None:
        raise AssertionError("STREAM.INFO always says when the stream was created")
    return int(created.replace(microsecond=0).timestamp()) * 1_000_000 + created.microsecond
