"""One lasting connection to NATS: it reconnects for ever, and counts and logs what goes wrong."""

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

_PENDING_BYTES = 64 << 20  # what nats-py may hold back while it reconnects; a window of the writer fits
_PING_INTERVAL_S = 5  # a server that stops answering is noticed after two of these
_RECONNECT_WAIT_S = 0.1  # between two attempts on one server
_CONNECT_TIMEOUT_S = 3
_PATIENCE_S, _MOST_PATIENCE_S = 10.0, 160.0  # with a server: longer than an election takes, doubled with each move
_REFUSED_WAIT_S = 1.0  # before who was refused asks again
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
    """The server ended the connection for good: it refuses us, or we broke the protocol."""


class Limits(Struct, frozen=True, kw_only=True):
    """How a deployment sizes its streams."""

    max_bytes: int = MAX_BYTES
    replicas: int = 1
    max_age_s: int | None = None
    """Of LEDGER, and so of its tombstones; None leaves the default."""

    def applied_to(self, spec: StreamSpec) -> StreamSpec:
        """The spec of a stream as this deployment wants it."""
        if self.max_age_s is None or LEDGER.name not in (spec.name, spec.mirror):
            return spec
        age = self.max_age_s if spec.max_age_s else 0
        return msgspec.structs.replace(spec, max_age_s=age, tombstone_ttl_s=self.max_age_s)


class Bus:
    """A connection, its JetStream context, and who wants to know when it came back."""

    def __init__(
        self, name: str, limits: Limits, specs: tuple[StreamSpec, ...], credentials: Credentials | None = None
    ) -> None:
        self.name = name
        self.credentials = credentials
        """Unset where everybody may do everything."""

        self.limits = limits
        self.specs = {spec.name: limits.applied_to(spec) for spec in specs}
        """By name, in the order in which they are made."""

        self.api = credentials.identity.api if credentials else JETSTREAM_API
        """Prefix of the subjects on which JetStream is asked."""

        self.nc = Client(credentials)
        self.js: JetStreamContext = JetStreamContext(self.nc, prefix=self.api, timeout=5)
        self.errors: Counter[str] = Counter()
        self.denied: set[Denial] = set()
        """What this connection was not permitted to do; it is not ready for anything else either."""
        self.rejects = Rejects()
        self.connected = asyncio.Event()
        self.dropped: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the connection of this moment is lost; then there is a new one."""

        self.ensuring = asyncio.Lock()
        """Held while this process makes streams, see `streams.ensure`."""

        self._reconnected: list[Callable[[], None]] = []
        self._dropped: list[Callable[[], None]] = []
        self._slow: list[Callable[[], None]] = []
        self._denials: list[Callable[[Denial], None]] = []
        self._logged: set[str] = set()
        self._came_s = float("-inf")  # when it was last connected
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
        """A connected bus. Waits for ever for a server that is not there yet; cancel it to give up.

        Raises:
            OSError, BadCredentials: there is no key in the folder of the credentials.
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
                reconnect_time_wait=_RECONNECT_WAIT_S,  # type: ignore[arg-type]  # seconds, given to asyncio.sleep
                connect_timeout=_CONNECT_TIMEOUT_S,
                ping_interval=_PING_INTERVAL_S,
                max_outstanding_pings=2,
                pending_size=_PENDING_BYTES,
                skip_subject_validation=True,  # `contracts.subjects` makes them all
                **own,
            )
        except BaseException:  # given up while the server refuses us: nothing of the last attempt may stay
            bus._closing = True
            await bus.nc.close()
            raise
        bus.connected.set()
        return bus

    @property
    def owns_streams(self) -> bool:
        """Whether we make streams that are missing; else somebody else does."""
        return self.credentials is None or self.credentials.owns_streams

    async def close(self) -> None:
        self._closing = True
        await self.nc.close()

    async def guard(self) -> None:
        """Return when the connection was closed by `close`.

        Raises:
            BusClosed: the server closed it, and there will be no other.
        """
        await self._ended.wait()
        if not self._closing:
            raise BusClosed(f"{self.name}: closed by the server: {self.nc.last_error}")

    def heard(self) -> None:
        """JetStream answered what it had not answered at first."""
        self._patience_s = _PATIENCE_S

    async def not_heard(self, since_s: float) -> None:
        """JetStream has not answered since then, though the server is there: after a while another one is asked.

        A server that is cut off from the others keeps its clients, and can do nothing for them.
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
        """The server that was left may be gone back to, should the others end."""
        if not self.nc.is_closed:
            self.nc.set_server_pool(servers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def on_reconnect(self, call: Callable[[], None]) -> Callable[[], None]:
        """`call` runs after every reconnect; the answer takes it off again."""
        self._reconnected.append(call)
        return lambda: self._reconnected.remove(call)

    def on_drop(self, call: Callable[[], None]) -> Callable[[], None]:
        """`call` runs when the connection is lost; the answer takes it off again."""
        self._dropped.append(call)
        return lambda: self._dropped.remove(call)

    def on_slow(self, call: Callable[[], None]) -> Callable[[], None]:
        """`call` runs when messages were dropped because a reader was too slow; the answer takes it off again."""
        self._slow.append(call)
        return lambda: self._slow.remove(call)

    def on_denial(self, call: Callable[[Denial], None]) -> Callable[[], None]:
        """`call` runs for each thing that the server did not permit; the answer takes it off again."""
        self._denials.append(call)
        return lambda: self._denials.remove(call)

    async def _error(self, error: Exception) -> None:
        """The place where nats-py reports denied publishes, slow consumers and lost servers. Must not raise."""
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
        """It was not said since there was a connection: a server that is away says the same ten times a second."""
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
