"""HTTP by uvicorn, inside of our own frame: it handles no signals."""

import asyncio
import contextlib
import ssl
from collections.abc import Generator

import structlog
import uvicorn
from starlette.types import ASGIApp

from sluice.runtime.settings import ConfigError
from sluice.services.query_api.settings import QueryApiSettings

log = structlog.get_logger()

_STOP_S = 2  # for requests under way when the service ends; those who follow are cut


class _Server(uvicorn.Server):
    """Signals are the frame's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class Listening:
    """The server. `port` is known once it is `listening`."""

    def __init__(self, app: ASGIApp, own: QueryApiSettings) -> None:
        config = uvicorn.Config(
            app,
            host=own.host,
            port=own.port,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_STOP_S,
            ssl_certfile=own.certificate or None,
            ssl_keyfile=own.key or None,
            ssl_ca_certs=own.client_ca or None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if own.client_ca else ssl.CERT_NONE,
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"{own.certificate}, {own.key}, {own.client_ca}: {error}; all are PEM files") from error
        self._server = _Server(config)
        self.listening = asyncio.Event()

    @property
    def port(self) -> int:
        """The one that it listens on."""
        [server] = self._server.servers
        return int(server.sockets[0].getsockname()[1])

    async def run(self) -> None:
        """Serve until cancelled."""
        serving = asyncio.create_task(self._server.serve(), name="uvicorn")
        try:
            while not self._server.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event for it
                await asyncio.sleep(0.01)
            if self._server.started:
                log.info("api_served", port=self.port)
                self.listening.set()
            await asyncio.shield(serving)
            raise OSError("the API does not listen any more; its port may be taken, see the log above")
        finally:
            self._server.should_exit = True
            await asyncio.wait([serving], timeout=_STOP_S + 1)
