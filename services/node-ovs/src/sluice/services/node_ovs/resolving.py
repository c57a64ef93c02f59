"""Resolves the names in rules from the node itself, so that rules that drop them need not wait until a Pod asks."""

import asyncio
from collections.abc import Callable
from time import monotonic

import structlog

from sluice.dataplane.dns.message import PORT, Answer, Kind
from sluice.drivers.dns import NoAnswer, ask, nameservers
from sluice.services.node_ovs.naming import Naming

log = structlog.get_logger()

AT_ONCE = 16
"""Maximum number of concurrent queries."""


class Resolving:
    """Resolves names; `news` is called when the fold has learned something.

    Args:
        server: address and port of the DNS server; None: the name servers of the node's resolv.conf.
    """

    def __init__(self, naming: Naming, server: tuple[str, int] | None, news: Callable[[], None]) -> None:
        self._naming, self._server, self._news = naming, server, news
        self._poked = asyncio.Event()
        self._free = asyncio.Semaphore(AT_ONCE)

    def poke(self) -> None:
        """Wake up if a name is due to be resolved."""
        if (at := self._naming.next_question_s) is not None and at <= monotonic():
            self._poked.set()

    async def run(self) -> None:
        """Resolve until cancelled."""
        async with asyncio.TaskGroup() as questions:
            while True:
                for name in self._naming.questions(monotonic()):
                    await self._free.acquire()
                    questions.create_task(self._ask(name), name=f"resolve {name}")
                at = self._naming.next_question_s
                try:
                    async with asyncio.timeout(None if at is None else max(0.0, at - monotonic())):
                        await self._poked.wait()
                except TimeoutError:
                    pass
                self._poked.clear()

    async def _ask(self, name: str) -> None:
        try:
            answers = await self._answers(name)
        except (NoAnswer, OSError) as error:
            log.warning("name_not_resolved", name=name, error=str(error), kept="the addresses known before")
            answers = None
        finally:
            self._free.release()
        self._naming.told_ahead(name, answers, monotonic())
        self.poke()
        self._poked.set()
        self._news()

    async def _answers(self, name: str) -> list[Answer] | None:
        servers, port = ((self._server[0],), self._server[1]) if self._server else (nameservers(), PORT)
        return list(await asyncio.gather(*(ask(servers, name, kind, port=port) for kind in (Kind.A, Kind.AAAA))))
