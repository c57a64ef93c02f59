"""The shell: one task per log, which publishes piece after piece and saves its position.

The position of a piece is saved before it is published, so that after a crash the same piece is sent again with the
same id. It waits for the bus without limit; meanwhile the logs stay in their files, and their writers are not affected.
"""

import asyncio
from pathlib import Path
from time import time_ns

import structlog
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from sluice.contracts import codec, subjects
from sluice.contracts.audit import AuditBatch, AuditEvent, Log, Loss
from sluice.contracts.ids import NodeName
from sluice.runtime import streams
from sluice.runtime.bus import Bus
from sluice.runtime.metrics import METRICS
from sluice.services.log_collector.attributing import Attributing
from sluice.services.log_collector.pods import Pods
from sluice.services.log_collector.reading import events
from sluice.services.log_collector.settings import LogCollectorSettings
from sluice.services.log_collector.tail import Piece, Tail, TailState

log = structlog.get_logger()

_published = METRICS.counter("sluice_log_collector_events_total", "Events that were published", "log")
_lost = METRICS.counter("sluice_log_collector_lost_total", "Losses that were published", "log")

ACK_TIMEOUT_S = 5.0
RETRY_S = 0.5
LONGEST_RETRY_S = 10.0
"""Maximum interval between attempts to publish a batch; it starts at RETRY_S and doubles."""

PATTERNS: dict[Log, str] = {"np": "np*.log", "l7": "eve-*.json"}
"""These also match rotated files that are not compressed yet."""


class Follower:
    """Follows one log of the node."""

    def __init__(self, bus: Bus, settings: LogCollectorSettings, log_name: Log) -> None:
        self._bus, self._node, self._log = bus, NodeName(settings.node_name), log_name
        self._folder = Path(settings.np_dir if log_name == "np" else settings.l7_dir)
        self._state_file = Path(settings.state_dir, f"{log_name}.json")
        self._poll_s = settings.poll_ms / 1_000
        self._written = b""
        self.caught_up = False

    async def run(self) -> None:
        """Run until cancelled."""
        tail = Tail(self._folder, PATTERNS[self._log], self._load())
        attributing = Attributing(self._folder)
        pods = Pods(self._bus, self._node)
        try:
            while True:
                piece = tail.next()
                losses = tail.forget_missing()
                if losses:
                    await self._tell(f"missing-{time_ns()}", [self._loss(reason) for reason in losses])
                if piece is None:
                    self.caught_up = True
                    self._save(tail.state)
                    await asyncio.sleep(self._poll_s)
                    continue
                self.caught_up = False
                self._save(tail.state)
                await self._tell(piece.id, await pods.named(attributing.attributed(self._read(piece))))
                tail.acknowledge(piece)
        finally:
            tail.close()
            attributing.close()

    def _read(self, piece: Piece) -> list[AuditEvent]:
        found = list(events(self._log, piece.lines, time_ns() // 1_000))
        if piece.skipped_bytes:
            found.insert(0, self._loss("a line is too long", piece.skipped_bytes))
        return found

    def _loss(self, reason: str, size_bytes: int = 0) -> Loss:
        return Loss(at_us=time_ns() // 1_000, lines=0, size_bytes=size_bytes, reason=reason)

    async def _tell(self, piece_id: str, found: list[AuditEvent]) -> None:
        """Publish the events, however long that takes."""
        if not found:
            return
        batch_id = f"{self._node}-{self._log}-{piece_id}"
        body = codec.encode(AuditBatch(node=self._node, log=self._log, id=batch_id, events=tuple(found)))
        pause_s = RETRY_S
        while True:
            try:
                await self._bus.js.publish(
                    subjects.audit(self._node, self._log),
                    body,
                    timeout=ACK_TIMEOUT_S,
                    stream="AUDIT",
                    headers={"Nats-Msg-Id": batch_id},
                )
            except (NatsError, JetStreamError, OSError, TimeoutError) as error:
                log.warning("batch_not_published", log=self._log, error=str(error) or type(error).__name__)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_RETRY_S)
                await self._ensure_streams()
            else:
                _published.add(len(found), self._log)
                _lost.add(sum(isinstance(one, Loss) for one in found), self._log)
                return

    async def _ensure_streams(self) -> None:
        try:
            await streams.ensure(self._bus)
        except (NatsError, JetStreamError, OSError, TimeoutError) as error:
            log.warning("streams_not_ready", error=str(error) or type(error).__name__)

    def _load(self) -> TailState:
        try:
            return codec.decode(self._state_file.read_bytes(), TailState)
        except FileNotFoundError:
            return TailState()
        except codec.Undecodable as error:
            log.error(
                "places_refused",
                file=str(self._state_file),
                error=str(error),
                instead="logs are read from the beginning",
            )
            return TailState()

    def _save(self, state: TailState) -> None:
        body = codec.encode(state)
        if body != self._written:
            self._state_file.parent.mkdir(parents=True, exist_ok=True)
            new = self._state_file.with_suffix(".new")
            new.write_bytes(body)
            new.replace(self._state_file)
            self._written = body


class Shell:
    def __init__(self, settings: LogCollectorSettings, bus: Bus) -> None:
        self._followers = [Follower(bus, settings, name) for name in PATTERNS]

    @property
    def caught_up(self) -> bool:
        return all(follower.caught_up for follower in self._followers)

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for follower in self._followers:
                tasks.create_task(follower.run(), name="follow")
