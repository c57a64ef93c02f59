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
_MAX_PENDING_BYTES = 256 << 20  # for one client before the server calls it slow; a snapshot may be large


class ServerFailed(RuntimeError):
    """nats-server did not start; the message holds the end of its log."""


def binary() -> str:
    """The nats-server beside this Python, else the first on the path.

    Raises:
        ServerFailed: there is none.
    """
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise ServerFailed(f"nats-server: not found beside {sys.executable} nor on the path; run `./task setup`")
    return found


class NatsServer:
    """One server process. It ends when it is told to, or when somebody kills it: then `restart`.

    It is never told to read its configuration while it runs (SIGHUP), but starts again: see `docs/security.md`.
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
        """Held while a process takes the place of another."""

    @classmethod
    async def start(
        cls,
        folder: Path | str,
        port: int = 0,
        *,
        variables: Mapping[str, str] | None = None,
        guarded: Path | None = None,
    ) -> Self:
        """A server that accepts connections on 127.0.0.1. Port 0 takes a free one and keeps it over restarts.

        Args:
            variables: of its environment, besides those of this process.
            guarded: the configuration of its TLS and accounts, as a keyring writes it. Unset: everybody may do
                everything.

        Raises:
            ServerFailed: it ended, or does not listen after 15 s.
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
        """Start it on what its folder holds; kills the one that runs, if any."""
        async with self._starting:
            await self.kill()
            await self._run()

    async def reconfigure(self) -> None:
        """It goes by its configuration as it is now: it ends in order and starts again, and all its clients come back.

        Raises:
            ServerFailed: it does not like the configuration, and does not run.
        """
        async with self._starting:
            await self.stop()
            await self._run()

    async def _run(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for stale in self.folder.glob("nats-server_*.ports"):
            stale.unlink()
        (self.folder / "nats.conf").write_text(self._config())
        with self._log.open("ab") as output:  # it says there itself what it does, and here why it cannot go on
            self._process = await asyncio.create_subprocess_exec(
                *self._command(),
                "-c",
                str(self.folder / "nats.conf"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env={**os.environ, **self._variables},
                start_new_session=True,  # Ctrl-C is for who started us; we stop it when we are done
            )
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                self.port = await self._listening()
        except TimeoutError as error:
            await self.kill()
            raise ServerFailed(f"nats-server: does not listen after {_START_TIMEOUT_S} s\n{self._log_end()}") from error

    async def stop(self) -> None:
        """It has ended, in order; killed if that takes more than 10 s."""
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(_STOP_TIMEOUT_S):
                await self._process.wait()
        except TimeoutError:
            await self.kill()

    async def ended(self) -> None:
        """Return when it does not run any more, and nobody is just starting it again."""
        while (process := self._process) is not None:
            await process.wait()
            async with self._starting:
                if self._process is process:
                    return

    async def kill(self) -> None:
        """It has ended, as by kill -9."""
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
        """The port it listens on. The server writes the ports file once it does."""
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
