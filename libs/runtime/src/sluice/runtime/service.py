"""The frame that every service runs in.

FastStream provides the life cycle (signals, hooks) and routes requests over HTTP and the bus; both share one
connection. Streams are read and written with nats-py: `follow`, `interest`, `output`.
"""

import asyncio
import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Generic, NoReturn, TypeVar

import msgspec
import structlog
from faststream import FastStream
from faststream.asgi import AsgiResponse, get
from faststream.nats import NatsBroker
from nats.aio.client import Client

from sluice.contracts import codec, identities, subjects
from sluice.runtime import http, logs, settings
from sluice.runtime.bus import Bus, Limits
from sluice.runtime.credentials import Credentials
from sluice.runtime.health import Health
from sluice.runtime.metrics import METRICS
from sluice.runtime.settings import ConfigError, ServiceSettings

S = TypeVar("S", bound=ServiceSettings)

log = structlog.get_logger()

_SOON_S = 1.0  # a bus that is up is reached sooner
_STOP_S = 10.0  # for the service's own clean-up on shutdown


class Service(Generic[S]):
    """What a service's main function gets."""

    def __init__(self, name: str, own: S, bus: Bus) -> None:
        self.name, self.settings, self.bus = name, own, bus
        self.health = Health(bus)


Main = Callable[[Service[S]], Awaitable[None]]
Tell = Callable[[Iterable[str]], None]
"""Takes descriptions of what the service waits for, which `/readyz` reports."""

WithoutBus = Callable[[S, Tell], Awaitable[None]]


def prefix(service: str) -> str:
    """Prefix of the service's environment variables: `SLUICE_NODE_OVS_` for node-ovs."""
    return f"SLUICE_{service.upper().replace('-', '_')}_"


def run(
    service: str,
    kind: type[S],
    main: Main[S],
    environ: Mapping[str, str] = os.environ,
    *,
    without_bus: WithoutBus[S] | None = None,
) -> NoReturn:
    """Run the service until it is stopped (SIGTERM, SIGINT: exit code 0) or fails (1); 2 for wrong settings.

    Args:
        without_bus: runs until the bus is first reached, and reports what has to wait for that.
    """
    try:
        own = settings.load(kind, prefix(service), environ)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201  # logs are not configured yet
        sys.exit(2)
    node = getattr(own, "node_name", None)
    logs.configure(service, level=own.log_level, **({"node": node} if node else {}))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        failed = runner.run(_Frame(service, own, main, without_bus).run())
    sys.exit(1 if failed else 0)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    if sys.platform == "win32":
        return asyncio.new_event_loop
    import uvloop  # noqa: PLC0415  # not available on Windows

    return uvloop.new_event_loop


class _Broker(NatsBroker):
    """FastStream's broker on the connection of the bus, so that a service has only one."""

    def __init__(self, url: str, name: str, limits: Limits, credentials: Credentials | None) -> None:
        super().__init__(url, logger=None)
        self._bus_url, self._bus_name, self._limits, self._credentials = url, name, limits, credentials
        self.bus: Bus | None = None

    async def _connect(self) -> Client:
        self.bus = await Bus.connect(
            self._bus_url, name=self._bus_name, limits=self._limits, credentials=self._credentials
        )
        self.config.connect(self.bus.nc)
        return self.bus.nc

    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        """Close the connection instead of draining it, because draining fails while the server is down."""
        self._connection = None
        await super().stop(exc_type, exc_val, exc_tb)
        if self.bus is not None:
            await self.bus.close()


class _Frame(Generic[S]):
    def __init__(self, name: str, own: S, main: Main[S], without_bus: WithoutBus[S] | None) -> None:
        self._name, self._own, self._main, self._without_bus = name, own, main, without_bus
        limits = Limits(max_bytes=own.stream_max_bytes, replicas=own.stream_replicas)
        credentials = None
        if own.nats_keys:
            identity = identities.of_service(name, getattr(own, "node_name", None))
            credentials = Credentials(identity=identity, folder=Path(own.nats_keys), server_name=own.nats_server_name)
        self._broker = _Broker(own.nats_url, name, limits, credentials)
        self._app = FastStream(
            self._broker,
            logger=None,
            on_startup=[self._begun],
            after_startup=[self._started],
            on_shutdown=[self._stop],
            after_shutdown=[self._bye],
        )
        self._broker.subscriber(subjects.health(name))(self._tell_health)
        self._task: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._waits_for: tuple[str, ...] = ()
        self._server: asyncio.Server | None = None
        self._health: Health | None = None
        self._failed = False

    async def run(self) -> bool:
        """Run until stopped; True if the service failed."""
        await self._app.run()
        return self._failed

    async def _begun(self) -> None:
        """Serve liveness before the bus is reached: it may be down, or refuse us, for a long time."""
        if self._own.health_port >= 0:
            self._server = await self._serve()
        self._waiting = asyncio.create_task(self._wait(), name="without bus")

    async def _wait(self) -> None:
        await asyncio.sleep(_SOON_S)
        log.warning("bus_not_reached", url=_shown_url(self._own))
        if self._without_bus is not None:
            await self._without_bus(self._own, self._tell)

    def _tell(self, what: Iterable[str]) -> None:
        self._waits_for = tuple(what)

    async def _started(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            await asyncio.gather(self._waiting, return_exceptions=True)
        if self._broker.bus is None:
            raise AssertionError("the broker is connected before this")
        service = Service(self._name, self._own, self._broker.bus)
        self._health = service.health
        self._task = asyncio.create_task(self._work(service), name=self._name)

    async def _work(self, service: Service[S]) -> None:
        log.info("service_started", settings=_shown(self._own))
        try:
            async with asyncio.TaskGroup() as tasks:
                guard = tasks.create_task(service.bus.guard(), name="bus")
                await self._main(service)
                guard.cancel()
        except Exception as error:
            self._failed = True
            log.exception("service_failed", reason=_reason(error))
        self._app.exit()

    async def _stop(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_STOP_S)
        if self._server is not None:
            self._server.close()

    async def _bye(self) -> None:
        log.info("service_ended", failed=self._failed)

    async def _serve(self) -> asyncio.Server:
        routes = [("/livez", get(self._livez)), ("/readyz", get(self._readyz)), ("/metrics", get(self._metrics))]
        server = await http.serve(self._app.as_asgi(asgi_routes=routes), self._own.health_host, self._own.health_port)
        log.info("health_served", address=server.sockets[0].getsockname()[:2])
        return server

    async def _livez(self, _scope: http.Scope) -> AsgiResponse:
        return AsgiResponse(b"alive\n")

    async def _readyz(self, _scope: http.Scope) -> AsgiResponse:
        lacking = await self._lacking()
        return AsgiResponse(("\n".join(lacking) or "ready").encode() + b"\n", 503 if lacking else 200)

    async def _metrics(self, _scope: http.Scope) -> AsgiResponse:
        return AsgiResponse(METRICS.text().encode(), headers={"content-type": "text/plain; version=0.0.4"})

    async def _tell_health(self, _message: str) -> bytes:
        lacking = await self._lacking()
        return codec.encode({"service": self._name, "ready": not lacking, "lacking": lacking})

    async def _lacking(self) -> list[str]:
        if self._health:
            return await self._health.lacking()
        return [f"bus: {_shown_url(self._own)} is not reached", *self._waits_for]


def _reason(error: BaseException) -> str:
    """The errors inside exception groups, in one line."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_reason(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"


def _shown(own: ServiceSettings) -> dict[str, object]:
    """The settings for the log, without a password in the URL."""
    return {**msgspec.structs.asdict(own), "nats_url": _shown_url(own)}


def _shown_url(own: ServiceSettings) -> str:
    return re.sub(r"//[^/@]*@", "//…@", own.nats_url)
