"""HTTP by uvicorn within our own frame; uvicorn handles no signals."""

import asyncio
import contextlib
from collections.abc import Generator

import structlog
import uvicorn

log = structlog.get_logger()


class _Server(uvicorn.Server):
    """Signals are the frame's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


class Serving:
    """One server, of a loaded configuration. `port` is known once it is `listening`."""

    def __init__(self, title: str, config: uvicorn.Config) -> None:
        """`title` is how logs and errors call it."""
        self._title, self._stop_s = title, config.timeout_graceful_shutdown or 0
        self._server = _Server(config)
        self.listening = asyncio.Event()

    @property
    def port(self) -> int:
        """The one that it listens on."""
        [server] = self._server.servers
        return int(server.sockets[0].getsockname()[1])

    async def run(self) -> None:
        """Serve until cancelled.

        Raises:
            OSError: it does not listen, or not any more.
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
            raise OSError(f"the {self._title} does not listen any more; its port may be taken, see the log above")
        finally:
            self._server.should_exit = True
            await asyncio.wait([serving], timeout=self._stop_s + 1)
