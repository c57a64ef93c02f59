"""HTTPS by uvicorn, inside of our own frame: it handles no signals, and takes new certificates while it runs."""

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

_STOP_S = 3  # for requests under way when the service ends
_expiry = METRICS.gauge("sluice_admission_certificate_loads", "Times that the certificate was read since the start")


class BadCertificate(ValueError):
    """The files hold no certificate and key that belong together; the message says which."""


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
        """Read the certificate again whenever its files change: new connections have it, the old ones keep theirs.

        Files that do not belong together (the second is not written yet) leave the old certificate, and are tried
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
            _expiry.add(1)
            log.info("certificate_taken", certificate=str(self._certificate))

    def _look(self) -> tuple[object, ...]:
        """What tells one version of the files from another; Kubernetes replaces the link to their folder."""
        found: list[object] = []
        for path in (self._certificate, self._key):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)
