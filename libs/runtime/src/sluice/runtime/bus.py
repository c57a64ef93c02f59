"""One long-lived connection to NATS, which always reconnects, and counts and logs errors."""

import asyncio
from collections import Counter
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Any, Self

import msgspec
import structlog
from msgspec import Struct
from nats.errors import SlowConsumerError
from nats.js import JetStreamContext

from sluice.contracts.identities import JETSTREAM_API
from sluice.contracts.streams import LEDGER, MAX_BYTES, STREAMS, StreamSpec
from sluice.runtime.client import Client
from sluice.runtime.credentials import Credentials
from sluice.runtime.metrics import METRICS
from sluice.runtime.refusals import Denial, denial, refusal
from sluice.runtime.rejects import Rejects

log = structlog.get_logger()

_PENDING_BYTES = 64 << 20  # nats-py's buffer while it reconnects; a window of the writer fits
_PING_INTERVAL_S = 5  # a server that stops answering is detected after two of these
_RECONNECT_WAIT_S = 0.1  # between two attempts on the same server
_CONNECT_TIMEOUT_S = 3
_PATIENCE_S, _MOST_PATIENCE_S = 10.0, 160.0  # with a silent server: longer than an election; doubled per move
_REFUSED_WAIT_S = 1.0  # before a refused client retries
_DENIALS_KEPT = 256

_errors = METRICS.counter("sluice_bus_errors_total", "Errors that NATS reported asynchronously", "error")
_denied = METRICS.counter(
    "sluice_bus_permission_denied_total", "Publishes and subscriptions that the server did not permit", "action"
)
_refused = METRICS.counter(
    "sluice_bus_refused_total",
    "Connections that the server refused, or that we refused to make, for who it is",
    "reason",
)
_reconnects = METRICS.counter("sluice_bus_reconnects_total", "Times the connection was made again")


class BusClosed(RuntimeError):
    """The server closed the connection for good: it refuses us, or we violated the protocol."""


class Limits(Struct, frozen=True, kw_only=True):
    """Sizes of a deployment's streams."""

    max_bytes: int = MAX_BYTES
    replicas: int = 1
    max_age_s: int | None = None
    """Maximum age for LEDGER, and so for its tombstones; None keeps the default."""

    def applied_to(self, spec: StreamSpec) -> StreamSpec:
        """The spec of a stream, adjusted to this deployment."""
        if self.max_age_s is None or LEDGER.name not in (spec.name, spec.mirror):
            return spec
        age = self.max_age_s if spec.max_age_s else 0
        return msgspec.structs.replace(spec, max_age_s=age, tombstone_ttl_s=self.max_age_s)


class Bus:
    """A connection, its JetStream context, and the callbacks for changes of the connection."""

    def __init__(
        self, name: str, limits: Limits, specs: tuple[StreamSpec, ...], credentials: Credentials | None = None
    ) -> None:
        self.name = name
        self.credentials = credentials
        """None if the server grants everyone everything."""

        self.limits = limits
        self.specs = {spec.name: limits.applied_to(spec) for spec in specs}
        """By name, in order of creation."""

        self.api = credentials.identity.api if credentials else JETSTREAM_API
        """Prefix of JetStream's API subjects."""

        self.nc = Client(credentials)
        self.js: JetStreamContext = JetStreamContext(self.nc, prefix=self.api, timeout=5)
        self.errors: Counter[str] = Counter()
        self.denied: set[Denial] = set()
        """Operations that the server denied on this connection; while there are any, the bus is not ready."""
        self.rejects = Rejects()
        self.connected = asyncio.Event()
        self.dropped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the current connection is lost; then replaced by a new future."""

        self.ensuring = asyncio.Lock()
        """Held while this process creates streams; see `streams.ensure`."""

        self._reconnected: list[Callable[[], None]] = []
        self._dropped: list[Callable[[], None]] = []
        self._slow: list[Callable[[], None]] = []
        self._denials: list[Callable[[Denial], None]] = []
        self._logged: set[str] = set()
        self._came_s = float("-inf")  # when it last connected
        self._patience_s = _PATIENCE_S
        self._closing = False
        self._ended = asyncio.Event()

    @classmethod
    async def connect(
        cls,
        url: str,
        *,
        name: str,
        limits: Limits | None = None,
        specs: tuple[StreamSpec, ...] = STREAMS,
        credentials: Credentials | None = None,
    ) -> Self:
        """A connected bus. Waits indefinitely for a server that is not up yet; cancel it to give up.

        Raises:
            OSError, BadCredentials: the folder of the credentials has no valid key.
        """
        bus = cls(name, limits or Limits(), specs, credentials)
        own: dict[str, Any] = {}  # Any: options of several types
        if credentials:
            own = {"nkeys_seed": str(credentials.seed), "inbox_prefix": credentials.identity.inbox}
            if credentials.server_name:
                own["tls_hostname"] = credentials.server_name
            credentials.public_key()
        try:
            await bus.nc.connect(
                servers=url.split(","),
                name=name,
                error_cb=bus._error,
                disconnected_cb=bus._disconnected,
                reconnected_cb=bus._came_back,
                closed_cb=bus._closed,
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=_RECONNECT_WAIT_S,  # type: ignore[arg-type]  # seconds, passed to asyncio.sleep
                connect_timeout=_CONNECT_TIMEOUT_S,
                ping_interval=_PING_INTERVAL_S,
                max_outstanding_pings=2,
                pending_size=_PENDING_BYTES,
                skip_subject_validation=True,  # all come from `contracts.subjects`
                **own,
            )
        except BaseException:  # cancelled while the server refuses us: clean up after the last attempt
            bus._closing = True
            await bus.nc.close()
            raise
        bus.connected.set()
        return bus

    @property
    def owns_streams(self) -> bool:
        """Whether this client creates missing streams; if not, another one does."""
        return self.credentials is None or self.credentials.owns_streams

    async def close(self) -> None:
        self._closing = True
        await self.nc.close()

    async def guard(self) -> None:
        """Return when `close` has closed the connection.

        Raises:
            BusClosed: the server closed it, and it will not reconnect.
        """
        await self._ended.wait()
        if not self._closing:
            raise BusClosed(f"{self.name}: closed by the server: {self.nc.last_error}")

    def heard(self) -> None:
        """Record that JetStream answered, after it had not at first."""
        self._patience_s = _PATIENCE_S

    async def not_heard(self, since_s: float) -> None:
        """Record that JetStream has been silent since then, though connected; after a while, move to another server.

        A server that is partitioned from its cluster keeps its clients, but cannot serve them.
        """
        now_s, here = monotonic(), self.nc.connected_url
        every = [url.geturl() for url in self.nc.servers]
        others = [url for url in every if here is None or url != here.geturl()]
        if not others or not self.nc.is_connected or now_s - max(since_s, self._came_s) < self._patience_s:
            return
        self._came_s, self._patience_s = now_s, min(2 * self._patience_s, _MOST_PATIENCE_S)
        log.warning("bus_left_server", bus=self.name, server=here.netloc if here else "", reason="no JetStream")
        self.nc.set_server_pool(others)
        asyncio.get_running_loop().call_later(_PATIENCE_S, self._know_again, every)
        await self.nc.force_reconnect()

    def _know_again(self, servers: list[str]) -> None:
        """Allow reconnecting to the server that was left, in case the others fail."""
        if not self.nc.is_closed:
            self.nc.set_server_pool(servers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def on_reconnect(self, call: Callable[[], None]) -> Callable[[], None]:
        """Run `call` after every reconnect; call the returned function to unregister it."""
        self._reconnected.append(call)
        return lambda: self._reconnected.remove(call)

    def on_drop(self, call: Callable[[], None]) -> Callable[[], None]:
        """Run `call` whenever the connection is lost; call the returned function to unregister it."""
        self._dropped.append(call)
        return lambda: self._dropped.remove(call)

    def on_slow(self, call: Callable[[], None]) -> Callable[[], None]:
        """Run `call` when messages were dropped for a slow consumer; call the returned function to unregister it."""
        self._slow.append(call)
        return lambda: self._slow.remove(call)

    def on_denial(self, call: Callable[[Denial], None]) -> Callable[[], None]:
        """Run `call` for each operation that the server denied; call the returned function to unregister it."""
        self._denials.append(call)
        return lambda: self._denials.remove(call)

    async def _error(self, error: Exception) -> None:
        """Called by nats-py for denied publishes, slow consumers and lost servers. Must not raise."""
        kind = type(error).__name__
        self.errors[kind] += 1
        _errors.add(1, kind)
        if isinstance(error, SlowConsumerError):  # one for each dropped message
            for call in tuple(self._slow):
                call()
        if denied := denial(error):
            self._deny(denied)
        elif reason := refusal(error):
            _refused.add(1, reason)
            if self._is_news(reason):
                log.error(
                    "bus_refused", bus=self.name, identity=self._identity, reason=reason, error=f"{kind}: {error}"
                )
            await asyncio.sleep(_REFUSED_WAIT_S)
        elif self._is_news(kind):
            log.warning("bus_failed", bus=self.name, error=f"{kind}: {error}")

    @property
    def _identity(self) -> str:
        return self.credentials.identity.text if self.credentials else ""

    def _deny(self, denied: Denial) -> None:
        _denied.add(1, denied.action)
        if len(self.denied) < _DENIALS_KEPT and denied not in self.denied:
            self.denied.add(denied)
            log.error("bus_permission_denied", bus=self.name, identity=self._identity, **denied._asdict())
        for call in tuple(self._denials):
            call(denied)

    def _is_news(self, what: str) -> bool:
        """Whether this was not yet logged since the last connect: an unreachable server fails ten times a second."""
        if what in self._logged:
            return False
        self._logged.add(what)
        return True

    async def _disconnected(self) -> None:
        self.connected.clear()
        dropped, self.dropped = self.dropped, asyncio.get_running_loop().create_future()
        dropped.set_result(None)
        for call in tuple(self._dropped):
            call()

    async def _closed(self) -> None:
        self._ended.set()
        await self._disconnected()

    async def _came_back(self) -> None:
        self._logged.clear()
        self.denied.clear()
        _reconnects.add(1)
        self._came_s = monotonic()
        self.connected.set()
        log.info("bus_reconnected", bus=self.name)
        for call in tuple(self._reconnected):
            call()
