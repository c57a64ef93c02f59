"""Explains whom the flows of this node belong to."""

import asyncio
import re
from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from time import monotonic

from sluice.contracts.explaining import Held, Meaning, ObjectRef
from sluice.contracts.ids import NodeName, Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import ServiceRef
from sluice.contracts.tracing import DecidingRule
from sluice.dataplane.ovs import cookies, parse
from sluice.dataplane.ovs import text as notation
from sluice.dataplane.ovs.cookies import Cookie, CookieKind
from sluice.dataplane.ovs.flow import Conjunction, FlowBody, FlowKey, Output
from sluice.dataplane.ovs.pipeline import TABLES, Table
from sluice.runtime.telling import NO_SUCH_END, NotOurs, Page, Place, cut, held, place_of
from sluice.services.node_ovs.programmer import Programmer

OF_RULES = (CookieKind.RULE, CookieKind.ISOLATION, CookieKind.COUNT)
OF_PORTS = (CookieKind.PORT, CookieKind.UPLINK)

LISTING_S = 60.0
"""Pages requested within this time of each other share one sort order. Flows added since the first page are not listed;
removed ones are left out."""

_COOKIE = re.compile(r"\s*(?:cookie=)?(0x[0-9a-fA-F]{1,16})\s*")


class Explaining:
    """The flows that the programmer wants in the switch; any difference is repaired at once."""

    def __init__(self, node: NodeName, facts: Programmer) -> None:
        self._node, self._facts = node, facts
        self._sorted: list[FlowKey] = []
        self._sorted_at_s = float("-inf")
        """For `_sorted`, the latest listing: sorting 100,000 flows takes a second."""

    @property
    def upto(self) -> Revision:
        return self._facts.upto

    async def meaning(self, text: str) -> Meaning:
        """Explain a flow, or a cookie.

        Raises:
            NotOurs
        """
        return self._meaning(*_read(text))

    async def page(self, after: str, limit: int) -> Page:
        """Flows by table, and within a table in the order in which packets meet them.

        Raises:
            NotOurs
        """
        flows = self._facts.flows
        begin = place_of(after) if after else None
        if begin is None or monotonic() - self._sorted_at_s > LISTING_S:
            self._sorted = await asyncio.to_thread(sorted, flows, key=_place)
        self._sorted_at_s = monotonic()
        try:
            first = 0 if begin is None else bisect_left(self._sorted, begin, key=_place)
        except TypeError as error:
            raise NotOurs(NO_SUCH_END) from error
        there = (key for key in islice(self._sorted, first, None) if key in flows)
        return cut(((_place(key), self._held(key, flows[key])) for key in there), limit)

    def _held(self, key: FlowKey, body: FlowBody) -> Held:
        cookie = cookies.unpack(body.cookie)
        assert cookie is not None, "checking.check refuses such"
        return held(notation.write(key, body), self._meaning(cookie, key, body))

    def _meaning(self, cookie: Cookie, key: FlowKey | None, body: FlowBody | None) -> Meaning:
        table = Table(key.table) if key and key.table in TABLES else None
        return Meaning(
            kind=cookie.kind.name.lower(),
            says=cookies.SAYS[cookie.kind],
            table=table.name if table is not None else "",
            does=TABLES[table].does if table is not None else "",
            rules=tuple(self._rules(cookie, body)),
            pods=tuple(self._pods(cookie, body)),
            services=tuple(self._services(cookie, key)),
            objects=tuple(self._objects(cookie, key)),
        )

    def _rules(self, cookie: Cookie, body: FlowBody | None) -> Iterator[DecidingRule]:
        if cookie.kind is CookieKind.L7:
            yield from self._facts.judged_by(cookie.number)
        numbers = [cookie.number] if cookie.kind in OF_RULES else []
        if body is not None:
            numbers += [action.id for action in body.actions if isinstance(action, Conjunction)]
        for number in dict.fromkeys(numbers):
            if (rule := self._facts.rule(number)) is not None:
                yield rule

    def _pods(self, cookie: Cookie, body: FlowBody | None) -> Iterator[str]:
        numbers: set[int] = {cookie.number} if cookie.kind in OF_PORTS else set()
        if cookie.kind is CookieKind.MULTICAST and body is not None:
            numbers = {action.port for action in body.actions if isinstance(action, Output)}
        if numbers:
            yield from sorted(port.pod for port in self._facts.ports.values() if port.ofport in numbers)

    def _services(self, cookie: Cookie, key: FlowKey | None) -> Iterator[ServiceRef]:
        owner = None
        if cookie.kind is CookieKind.AFFINITY:
            owner = self._facts.serving.owner_of_endpoint(cookie.number)
        elif cookie.kind is CookieKind.SERVICE and key is not None:
            owner = self._facts.serving.owner(key)
        if owner is not None:
            yield owner

    def _objects(self, cookie: Cookie, key: FlowKey | None) -> Iterator[ObjectRef]:
        match cookie.kind:
            case CookieKind.TRAFFIC_CONTROL:
                for program in self._facts.traffic.owners(cookie.number, key):
                    yield ObjectRef(kind=Kind.TRAFFIC_CONTROL, name=program.name, revision=program.cause)
            case CookieKind.UPLINK:
                yield ObjectRef(kind=Kind.NODE, name=self._node)
            case CookieKind.ROUTE if key is not None and (node := self._facts.routing.owner(key)) is not None:
                yield ObjectRef(kind=Kind.NODE, name=node)
            case _:
                pass


def _place(key: FlowKey) -> Place:
    terms = tuple((*term.field.spec[1:3], term.value, -1 if term.mask is None else term.mask) for term in key.match)
    return key.table, -key.priority, terms


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
        raise NotOurs(f"{number:#x} is not a cookie of Sluice, all of which begin with {cookies.OWNER:#x}")
    return cookie, key, body
