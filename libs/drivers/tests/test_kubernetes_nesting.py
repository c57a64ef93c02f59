"""An object of somebody who nests as deeply as the API server accepts costs only itself."""

from contextlib import asynccontextmanager
from typing import Any, cast

from sluice.contracts.kinds import RESOURCES, Kind
from sluice.drivers.kubernetes.client import Client
from sluice.drivers.kubernetes.paging import listed
from sluice.drivers.kubernetes.watching import watched

DEEP = b'{"metadata":{"name":"deep"},"spec":' + b"[" * 9_990 + b"]" * 9_990 + b"}"
FLAT = b'{"metadata":{"name":"flat"}}'
POLICIES = RESOURCES[Kind.CLUSTER_NETWORK_POLICY]


class Answers:
    """In place of a client: gives these answers."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)

    async def ask(self, *_: Any, **__: Any) -> bytes:  # Any: as the client's
        return self._answers.pop(0)

    @asynccontextmanager
    async def stream(self, *_: Any, **__: Any) -> Any:  # Any: as the client's
        async def pieces() -> Any:
            while self._answers:
                yield self._answers.pop(0)

        yield pieces()


async def test_a_listing() -> None:
    answers = Answers(b'{"metadata":{"resourceVersion":"7"},"items":[%s,%s]}' % (DEEP, FLAT))

    found = await listed(cast("Client", answers), POLICIES, lambda body: body[-len(FLAT) + 1 :])  # a fake

    assert (len(found.objects), found.objects[1], found.version) == (2, FLAT[1:], "7")


async def test_a_watch() -> None:
    lines = b"".join(b'{"type":"ADDED","object":%s}\n' % one for one in (DEEP, FLAT))
    answers = cast("Client", Answers(lines))  # a fake

    (events,) = [batch async for batch in watched(answers, POLICIES, "7", initial=False, silence_s=1)]

    assert [event.name for event in events] == [("", "deep"), ("", "flat")]
