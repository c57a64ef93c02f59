"""HTTP by uvicorn within our own frame; uvicorn handles no signals."""

import asyncio
import contextlib
from collections.abc import Generator

import structlog
import uvicorn

log = structlog.get_logger()


class _Server(uvicorn.Server):
    """Leaves signals to the frame."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class Serving:
    """One server with a loaded configuration. `port` is known once `listening` is set."""

    def __init__(self, title: str, config: uvicorn.Config) -> None:
        """`title` names the server in logs and errors."""
        self._title, self._stop_s = title, config.timeout_graceful_shutdown or 0
        self._server = _Server(config)
        self.listening = asyncio.Event()

    @property
    def port(self) -> int:
        """The port it listens on."""
        [server] = self._server.servers
        return int(server.sockets[0].getsockname()[1])

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            OSError: it does not listen, or stopped listening.
        """
        serving = asyncio.create_task(self._server.serve(), name="uvicorn")
        try:
            while not self._server.started and not serving.done():  # noqa: ASYNC110  # uvicorn has no event for it
                await asyncio.sleep(0.01)
            if self._server.started:
                served = self._title.lower() + "_served"
                log.info(served, port=self.port)
                self.listening.set()
            await asyncio.shield(serving)
            raise OSError(f"the {self._title} no longer listens; its port may be taken, see the log above")
        finally:
            self._server.should_exit = True
            await asyncio.wait([serving], timeout=self._stop_s + 1)
