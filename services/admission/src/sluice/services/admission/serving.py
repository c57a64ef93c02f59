"""HTTPS by uvicorn within our own runtime: it does not handle signals, and reloads certificates while running."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import structlog
import uvicorn
from starlette.types import ASGIApp

from sluice.runtime.metrics import METRICS
from sluice.runtime.serving import Serving

log = structlog.get_logger()

_STOP_S = 3  # for requests in progress at shutdown
_loads = METRICS.gauge("sluice_admission_certificate_loads", "Times the certificate was loaded since the start")


class BadCertificate(ValueError):
    """The files do not hold a certificate with its matching key; the message says which."""


class Webhook(Serving):
    """The server, and its certificate."""

    def __init__(self, app: ASGIApp, host: str, port: int, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self._seen = self._look()
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=_STOP_S,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            raise BadCertificate(
                f"{certificate} and {key}: {error}; mount a certificate chain and its key, both PEM"
            ) from error
        if config.ssl is None:
            raise AssertionError("uvicorn made a context of the two files")
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
        self._context = config.ssl
        super().__init__("webhook", config)

    async def watch(self, interval_s: float) -> None:
        """Reload the certificate whenever its files change: new connections use it, existing ones keep theirs.

        If the files do not match (the second is not written yet), the old certificate stays, and the files are tried
        again.
        """
        while True:
            await asyncio.sleep(interval_s)
            now = self._look()
            if now == self._seen:
                continue
            try:
                ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(self._certificate, self._key)
                self._context.load_cert_chain(self._certificate, self._key)
            except (OSError, ssl.SSLError) as error:
                log.warning("certificate_not_taken", reason=str(error), certificate=str(self._certificate))
                continue
            self._seen = now
            _loads.add(1)
            log.info("certificate_taken", certificate=str(self._certificate))

    def _look(self) -> tuple[object, ...]:
        """Identifies a version of the files; Kubernetes replaces the symbolic link to their directory."""
        found: list[object] = []
        for path in (self._certificate, self._key):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)
