"""The client of the API: how to reach it, requests, and output of its answers."""

import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlencode, urlsplit

import click

from sluice.cli import options

ENV, TOKEN_ENV = "SLUICE_API", "SLUICE_TOKEN"
CA_ENV, CERTIFICATE_ENV, KEY_ENV = "SLUICE_API_CA", "SLUICE_API_CERTIFICATE", "SLUICE_API_KEY"
"""Environment variables with PEM files: the CA to trust, and our certificate and key if the API requires one."""

DEFAULT = "http://127.0.0.1:8080"
TIMEOUT_S = 30.0
WRITTEN_S = 60.0
"""For changes: the source may take a while."""

MOST = 5_000
"""Most items per page; `LIMIT, MOST` of query-api."""

Row = Callable[[dict[str, Any]], Sequence[str]]

_there = [
    click.option(
        "--api", metavar="URL", help=f"The API's URL. Default: ${ENV}, or that of a running lab, or {DEFAULT}."
    ),
    click.option(
        "--token",
        metavar="TOKEN",
        help=f"Default: ${TOKEN_ENV}. For certificates, set ${CERTIFICATE_ENV}, ${KEY_ENV}, ${CA_ENV}.",
    ),
]
_options = [
    *_there,
    click.option("--name", "lab", metavar="LAB", help="Name of the lab. Default: the only one running."),
]


def at_the_api(command: Any) -> Any:  # Any: as click's own decorators
    """For commands that have a --lab option already."""
    for option in reversed(_there):
        command = option(command)
    return command


def asks_the_api(command: Any) -> Any:  # Any: as click's own decorators
    for option in reversed(_options):
        command = option(command)
    return command


class Api:
    """One API, and the token for it."""

    def __init__(self, api: str | None, token: str | None, lab: str | None) -> None:
        self.url = (api or os.environ.get(ENV) or _of_lab(lab) or DEFAULT).rstrip("/")
        if "://" not in self.url:
            options.refuse([f"{self.url}: not a URL; write it as http://{self.url}"])
        self._token = token or os.environ.get(TOKEN_ENV)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        """The answer as JSON; an error ends the command."""
        import msgspec

        with self.open(path, query) as answer:
            told: dict[str, Any] = msgspec.json.decode(answer.read())
            return told

    def send(self, method: str, path: str, body: object, headers: dict[str, str]) -> None:
        """Make a change; an error ends the command."""
        import msgspec

        request = urllib.request.Request(f"{self.url}{path}", method=method, headers=headers)  # noqa: S310  # the user's URL
        if body is not None:
            request.data = msgspec.json.encode(body)
            request.add_header("Content-Type", "application/json")
        self._answer(request, WRITTEN_S).close()

    def items(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """All items of a list, page by page."""
        more: str | None = None
        while more != "":
            told = self.get(path, **query, **({"continue": more} if more else {}))
            yield from told["items"]
            more = told.get("more") or told.get("metadata", {}).get("more") or ""

    def all(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """The same, in pages as large as the API allows."""
        return list(self.items(path, **query, limit=MOST))

    def open(self, path: str, query: dict[str, Any]) -> Any:
        """The response as a stream; an error ends the command."""
        asked = urlencode({key: value for key, value in query.items() if value is not None})
        return self._answer(
            urllib.request.Request(f"{self.url}{path}" + (f"?{asked}" if asked else "")),  # noqa: S310  # the user's URL
            TIMEOUT_S,
        )

    def _answer(self, request: urllib.request.Request, timeout_s: float) -> Any:
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        try:
            return _opener(self.url).open(request, timeout=timeout_s)
        except urllib.error.HTTPError as error:
            options.refuse([_reason(error)])
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            options.refuse([f"{self.url}: no API answers: {reason}; start one, or give its URL with --api or ${ENV}"])


def show(items: Sequence[dict[str, Any]], output: str, header: Sequence[str], row: Row) -> None:
    """Print the items, as a table or as they are."""
    match output:
        case "json":
            options.echo_json({"items": items})
        case "yaml":
            import yaml

            click.echo(yaml.safe_dump({"items": items}, sort_keys=False), nl=False)
        case _:
            click.echo(options.table([header, *map(row, items)]))


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Requests to this machine itself never use a proxy, whatever the environment says."""
    own = urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})] if own else []
    if context := _context():
        handlers.append(urllib.request.HTTPSHandler(context=context))
    return urllib.request.build_opener(*handlers)


def _context() -> ssl.SSLContext | None:
    """The TLS settings in the environment, if any."""
    ca, certificate, key = (os.environ.get(name) for name in (CA_ENV, CERTIFICATE_ENV, KEY_ENV))
    if not (ca or certificate):
        return None
    try:
        context = ssl.create_default_context(cafile=ca or None)
        if certificate:
            context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        names = f"${CA_ENV} ({ca}), ${CERTIFICATE_ENV} ({certificate}), ${KEY_ENV} ({key})"
        options.refuse([f"{names}: {error}: name files in PEM, a certificate and the key that belongs to it"])
    return context


def _of_lab(name: str | None) -> str | None:
    from sluice.lab import state

    try:
        return state.read(name).api_url or None
    except state.NoLab as error:
        if name is not None:
            options.refuse([str(error)])
        return None


def _reason(error: urllib.error.HTTPError) -> str:
    import msgspec

    try:
        told: dict[str, Any] = msgspec.json.decode(error.read())
        return f"{told['detail']} ({error.code})"
    except (msgspec.DecodeError, KeyError, TypeError):
        return f"{error.url}: {error.code} {error.reason}"
