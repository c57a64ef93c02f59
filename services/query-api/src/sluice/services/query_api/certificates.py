"""Passes the client certificate's name to the application: uvicorn requests certificates, but does not expose them."""

import asyncio
import ssl
from typing import Any

from fastapi import Request
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

_EXTENSION = "sluice.certificate"


class Certified(H11Protocol):
    """Tells the application the common name of the client's certificate, if there is one."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # same as uvicorn's
        super().connection_made(transport)
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        name = common_name(tls.getpeercert() or {}) if tls else ""
        inner = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope["extensions"] = {**scope.get("extensions", {}), _EXTENSION: name}
            await inner(scope, receive, send)

        self.app = app


def name_of(request: Request) -> str:
    """The common name in the client's certificate; empty if there is none."""
    name: str = request.scope.get("extensions", {}).get(_EXTENSION, "")
    return name


def common_name(certificate: Any) -> str:  # Any: nested tuples, as returned by `ssl`
    """The subject's common name; if there are several, the last and most specific (RFC 4514 writes it first)."""
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    return names[-1] if names else ""
