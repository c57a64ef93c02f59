"""Answers whose a flow of this node is."""

import re
from collections.abc import Iterator

from sluice.contracts import codec, subjects
from sluice.contracts.explaining import ExplainQuestion, ExplainRefused, Explanation
from sluice.contracts.ids import NodeName
from sluice.contracts.tracing import DecidingRule
from sluice.dataplane.ovs import cookies, parse
from sluice.dataplane.ovs.cookies import Cookie, CookieKind
from sluice.dataplane.ovs.flow import Conjunction, FlowBody, FlowKey
from sluice.dataplane.ovs.pipeline import TABLES, Table
from sluice.runtime.answering import answer
from sluice.runtime.bus import Bus
from sluice.services.node_ovs.programmer import Programmer

OF_RULES = (CookieKind.RULE, CookieKind.ISOLATION, CookieKind.COUNT)
OF_PORTS = (CookieKind.PORT, CookieKind.UPLINK)

_COOKIE = re.compile(r"\s*(?:cookie=)?(0x[0-9a-fA-F]{1,16})\s*")


class NotOurs(ValueError):
    """It is no flow of ours. The message says why."""


class Explaining:
    """Listens on the bus."""

    def __init__(self, bus: Bus, node: NodeName, facts: Programmer) -> None:
        self._bus, self._node, self._facts = bus, node, facts

    async def run(self) -> None:
        """Answer until cancelled."""
        await answer(self._bus, subjects.explain(self._node, "ovs"), self._answer)

    async def _answer(self, body: bytes) -> Explanation | ExplainRefused:
        try:
            return self.explain(codec.decode(body, ExplainQuestion).flow)
        except (NotOurs, codec.Undecodable) as error:
            return ExplainRefused(reason=f"node {self._node}: {error}")

    def explain(self, text: str) -> Explanation:
        """Whose the flow is.

        Raises:
            NotOurs
        """
        cookie, key, body = _read(text)
        table = Table(key.table) if key and key.table in TABLES else None
        return Explanation(
            node=self._node,
            applied=self._facts.upto,
            kind=cookie.kind.name.lower(),
            says=cookies.SAYS[cookie.kind],
            table=table.name if table is not None else "",
            does=TABLES[table].does if table is not None else "",
            rules=tuple(self._rules(cookie, body)),
            pods=tuple(self._pods(cookie)),
            services=tuple(self._facts.services_of(key)) if key else (),
        )

    def _rules(self, cookie: Cookie, body: FlowBody | None) -> Iterator[DecidingRule]:
        numbers = [cookie.number] if cookie.kind in OF_RULES else []
        if body is not None:
            numbers += [action.id for action in body.actions if isinstance(action, Conjunction)]
        for number in dict.fromkeys(numbers):
            if (rule := self._facts.rule(number)) is not None:
                yield rule

    def _pods(self, cookie: Cookie) -> Iterator[str]:
        if cookie.kind in OF_PORTS:
            yield from (port.pod for port in self._facts.ports.values() if port.ofport == cookie.number)


def _read(text: str) -> tuple[Cookie, FlowKey | None, FlowBody | None]:
    key = body = None
    if alone := _COOKIE.fullmatch(text):
        number = int(alone[1], 16)
    else:
        try:
            key, body = parse.read(text)
        except parse.NotAFlow as error:
            raise NotOurs(str(error)) from error
        number = body.cookie
    cookie = cookies.unpack(number)
    if cookie is None:
        raise NotOurs(f"{number:#x} is no cookie of ours: they begin with {cookies.OWNER:#x}")
    return cookie, key, body
