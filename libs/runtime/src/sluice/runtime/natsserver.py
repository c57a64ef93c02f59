"""Runs a nats-server from the pinned binary, with its files in one folder. For the lab and the tests."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from sluice.contracts.streams import MAX_PAYLOAD_BYTES

_START_TIMEOUT_S = 15
_STOP_TIMEOUT_S = 10
_LOG_LINES = 20
_MAX_PENDING_BYTES = 256 << 20  # per client, before the server considers it slow; a snapshot may be large


class ServerFailed(RuntimeError):
    """nats-server did not start; the message includes the end of its log."""


def binary() -> str:
    """Path of the nats-server beside this Python, else of the first in PATH.

    Raises:
        ServerFailed: there is none.
    """
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise ServerFailed(f"nats-server: not found beside {sys.executable} nor on the path; run `./task setup`")
    return found


class NatsServer:
    """One server process. It runs until it is stopped; if something kills it, use `restart`.

    It never reloads its configuration (SIGHUP), but restarts: see `docs/security.md`.
    """

    def __init__(
        self, folder: Path, port: int, variables: Mapping[str, str] | None = None, guarded: Path | None = None
    ) -> None:
        self.folder = folder
        self.port = port
        self._guarded = guarded
        self._variables = dict(variables or {})
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        """Held while one process replaces another."""

    @classmethod
    async def start(
        cls,
        folder: Path | str,
        port: int = 0,
        *,
        variables: Mapping[str, str] | None = None,
        guarded: Path | None = None,
    ) -> Self:
        """Start a server that accepts connections on 127.0.0.1. Port 0 picks a free port and keeps it across restarts.

        Args:
            variables: environment variables, in addition to those of this process.
            guarded: the configuration of TLS and accounts, as a keyring writes it. None: everyone may do everything.

        Raises:
            ServerFailed: it exited, or does not listen after 15 s.
        """
        server = cls(Path(folder), port, variables, guarded)
        await server.restart()
        return server

    @property
    def url(self) -> str:
        return f"{'tls' if self._guarded else 'nats'}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise ServerFailed("nats-server: not running")
        return self._process.pid

    async def restart(self) -> None:
        """Start it with the contents of its folder; kills a running process first."""
        async with self._starting:
            await self.kill()
            await self._run()

    async def reconfigure(self) -> None:
        """Restart it gracefully with its current configuration; clients reconnect.

        Raises:
            ServerFailed: it rejects the configuration, and is not running.
        """
        async with self._starting:
            await self.stop()
            await self._run()

    async def _run(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for stale in self.folder.glob("nats-server_*.ports"):
            stale.unlink()
        (self.folder / "nats.conf").write_text(self._config())
        with self._log.open("ab") as output:  # the server's log; here for errors before it opens that
            self._process = await asyncio.create_subprocess_exec(
                *self._command(),
                "-c",
                str(self.folder / "nats.conf"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **self._variables},
                start_new_session=True,  # Ctrl-C is for our own process; we stop the server when done
            )
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                self.port = await self._listening()
        except TimeoutError as error:
            await self.kill()
            raise ServerFailed(f"nats-server: does not listen after {_START_TIMEOUT_S} s\n{self._log_end()}") from error

    async def stop(self) -> None:
        """Stop it gracefully, or kill it if that takes more than 10 s."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def ended(self) -> None:
        """Return when it is not running and not being restarted."""
        while (process := self._process) is not None:
            await process.wait()
            async with self._starting:
                if self._process is process:
                    return

    async def kill(self) -> None:
        """Stop it as kill -9 does."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    def _command(self) -> tuple[str, ...]:
        return (binary(),)

    def _config(self) -> str:
        return "\n".join(
            [
                f"listen: 127.0.0.1:{self.port or -1}",
                f"log_file: {json.dumps(str(self._log))}",
                f"ports_file_dir: {json.dumps(str(self.folder))}",
                f"max_payload: {MAX_PAYLOAD_BYTES}",
                f"max_pending: {_MAX_PENDING_BYTES}",
                *([f"include {json.dumps(os.path.relpath(self._guarded, self.folder))}"] if self._guarded else []),
                f"jetstream {{ store_dir: {json.dumps(str(self.folder / 'store'))} }}",
                "",
            ]
        )

    async def _listening(self) -> int:
        """The port it listens on, from the ports file that the server then writes."""
        process = self._process
        if process is None:
            raise AssertionError("started before")
        ports = self.folder / f"nats-server_{process.pid}.ports"
        while True:
            if process.returncode is not None:
                raise ServerFailed(f"nats-server: ended with {process.returncode} at start\n{self._log_end()}")
            if ports.exists() and (text := ports.read_text()).endswith("}"):
                (address, *_) = json.loads(text)["nats"]
                return int(address.rsplit(":", 1)[1])
            await asyncio.sleep(0.01)

    @property
    def _log(self) -> Path:
        return self.folder / "nats.log"

    def _log_end(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:])
