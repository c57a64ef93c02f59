"""Requests to the API server: bytes in and out, and errors that say whether a retry can help."""

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import NamedTuple, NoReturn, Self

import aiohttp
import msgspec
from msgspec import Struct

from sluice.contracts.kinds import Resource
from sluice.drivers.kubernetes.access import Access, Connection

REQUEST_S = 30.0
"""For a whole response; a page of 500 large objects takes a second."""

_CONNECT_S = 10.0
_FIRST_WAIT_S = 0.05
_LONGEST_WAIT_S = 10.0


class Refused(Exception):
    """The API server answered with an error."""

    def __init__(self, code: int, reason: str, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code, self.reason, self.message, self.retry_after_s = code, reason, message, retry_after_s

    @property
    def passes(self) -> bool:
        """Whether a retry may succeed without anybody intervening."""
        return self.code == 429 or self.code >= 500


class Unreachable(OSError):
    """No response, or an incomplete one: the server or the network path to it is down."""


class Status(Struct):
    """The API server's error object (meta/v1 Status)."""

    class Details(Struct):
        retry_after_seconds: float = msgspec.field(default=0.0, name="retryAfterSeconds")

    code: int = 0
    reason: str = ""
    message: str = ""
    details: Details | None = None

    def refused(self, retry_after_s: float = 0.0) -> Refused:
        wait_s = retry_after_s or (self.details.retry_after_seconds if self.details else 0.0)
        return Refused(self.code, self.reason, self.message, wait_s)


class _Question(NamedTuple):
    method: str
    path: str
    query: Mapping[str, str] | None
    body: bytes | None
    content: str
    limits: aiohttp.ClientTimeout


class Client:
    """One API server. Safe for concurrent use."""

    def __init__(self, access: Access, agent: str) -> None:
        """`agent`: the user agent, for the server's audit log."""
        self._connection, self._agent = Connection(access), agent
        self._reopening = asyncio.Lock()
        self._opened = 0

    async def __aenter__(self) -> Self:
        await self._connection.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._connection.close()

    @property
    def host(self) -> str:
        return self._connection.host

    async def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        content: str = "application/json",
    ) -> bytes:
        """Send a request and return the body of a successful response.

        Raises:
            Refused: the server answered with an error.
            Unreachable: there was no answer.
        """
        limits = aiohttp.ClientTimeout(total=REQUEST_S, sock_connect=_CONNECT_S)
        async with self._asked(_Question(method, path, query, body, content, limits)) as response:
            return await response.read()

    @asynccontextmanager
    async def stream(
        self, path: str, query: Mapping[str, str], silence_s: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The body as it arrives, in chunks of any size.

        Raises:
            Refused, Unreachable: as `ask`; and Unreachable after `silence_s` without a byte.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S, sock_read=silence_s)
        async with self._asked(_Question("GET", path, query, None, "", limits)) as response:
            yield response.content.iter_any()

    @asynccontextmanager
    async def _asked(self, question: "_Question") -> AsyncIterator[aiohttp.ClientResponse]:
        opened = self._opened
        try:
            async with self._request(question) as response:
                if response.status < 400:
                    yield response
                    return
                if response.status != 401:
                    await _refuse(response)
            await self._reopen(opened)  # the credentials have expired; there may be new ones
            async with self._request(question) as response:
                if response.status >= 400:
                    await _refuse(response)
                yield response
        except (aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"{self.host}{question.path}: {str(error) or type(error).__name__}") from error

    @asynccontextmanager
    async def _request(self, question: "_Question") -> AsyncIterator[aiohttp.ClientResponse]:
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # compressing and decompressing takes longer than the transfer
            "User-Agent": self._agent,
            **({"Content-Type": question.content} if question.body is not None else {}),
            **await self._connection.headers(),
        }
        async with self._connection.session.request(
            question.method,
            self.host + question.path,
            params=question.query,
            data=question.body,
            headers=headers,
            timeout=question.limits,
            **self._connection.options(),
        ) as response:
            yield response

    async def _reopen(self, opened: int) -> None:
        """Reload the configuration, once for all requests whose credentials have expired."""
        async with self._reopening:
            if self._opened == opened:
                await self._connection.open()
                self._opened += 1


async def _refuse(response: aiohttp.ClientResponse) -> NoReturn:
    body = await response.read()
    after = response.headers.get("Retry-After", "")
    try:
        told = msgspec.json.decode(body, type=Status)
    except msgspec.MsgspecError:
        told = Status(message=body[:200].decode(errors="replace"))
    told.code = response.status
    raise told.refused(float(after) if after.isdigit() else 0.0)


class Backoff:
    """How long to wait before the next try: longer each time, and never less than the server asks for."""

    def __init__(self, longest_s: float = _LONGEST_WAIT_S) -> None:
        self._longest_s = longest_s
        self._next_s = _FIRST_WAIT_S

    def reset(self) -> None:
        self._next_s = _FIRST_WAIT_S

    def wait_s(self, error: Exception | None = None) -> float:
        """Seconds, with jitter."""
        asked_s = error.retry_after_s if isinstance(error, Refused) else 0.0
        wait_s, self._next_s = self._next_s, min(self._next_s * 2, self._longest_s)
        return max(asked_s, wait_s) * random.uniform(1.0, 1.2)


def root(resource: Resource) -> str:
    """The base path of the kind's API: /api/v1, or /apis/crd.antrea.io/v1beta1."""
    return f"/apis/{resource.api_version}" if "/" in resource.api_version else f"/api/{resource.api_version}"


def collection(resource: Resource) -> str:
    """The path of all objects of the kind."""
    return f"{root(resource)}/{resource.plural}"


def path(resource: Resource, namespace: str, name: str = "", part: str = "") -> str:
    """The path of an object or of one of its subresources; without a name, of the Namespace's collection."""
    steps = [root(resource), *(("namespaces", namespace) if namespace else ()), resource.plural, name, part]
    return "/".join(step for step in steps if step)
