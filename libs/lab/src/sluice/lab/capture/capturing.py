"""All receivers of one step: opened before its packets are sent, evaluated afterwards."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from sluice.contracts.ids import Address
from sluice.lab.capture.counting import Count, Ends, matches, summary, udp_ports
from sluice.lab.capture.listening import PACKET_HOST, PACKET_OUTGOING, Listener, NoLink, Taken
from sluice.lab.capture.tunnels import Seen, decode
from sluice.lab.receiving import Receiver

ARRIVES_S = 2.0
"""How long expected frames may take after the last answer; allows for the machine's load, not the network."""

SURPLUS_S = 0.15
"""How long to watch for surplus frames once all expected ones are there."""

POLL_S = 0.01


class Place(NamedTuple):
    """A link to listen on."""

    netns: Path
    link: str
    host: bool = False
    """Count only frames addressed to this namespace, since the network between nodes floods at times."""


class Capture:
    """Frames of several links; each is kept once, however many expectations refer to it."""

    def __init__(self, receivers: Sequence[tuple[Receiver, Ends]], places: Mapping[str, Sequence[Place]]) -> None:
        """`places` are the links of each receiver, by its `on`; a missing link receives nothing."""
        self._receivers, self._places = tuple(receivers), places
        self._ports = udp_ports(receiver for receiver, _ in receivers)
        self._frames: dict[Place, list[tuple[Seen, bool]]] = {}
        self._listeners: list[Listener] = []

    async def __aenter__(self) -> Self:
        for place in {each for places in self._places.values() for each in places}:
            try:
                self._listeners.append(await Listener.open(place.netns, place.link, self._taker(place)))
            except NoLink:
                del self._frames[place]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for listener in self._listeners:
            listener.close()

    def _taker(self, place: Place) -> Taken:
        frames = self._frames[place] = []

        def taken(octets: bytes, kind: int) -> None:
            if kind == PACKET_HOST or not place.host:
                frames.append((decode(octets, self._ports), kind == PACKET_OUTGOING))

        return taken

    async def counts(self) -> list[Count]:
        """The result of each expectation, in order, once all are met or the time is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ARRIVES_S
        # Polled instead of one event per frame: thousands arrive at a time.
        while any(each.short for each in self._counts()) and loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)
        await asyncio.sleep(SURPLUS_S)
        return self._counts()

    def _counts(self) -> list[Count]:
        for listener in self._listeners:
            listener.drain()
        return [self._count(*each) for each in self._receivers]

    def _count(self, wanted: Receiver, ends: Ends) -> Count:
        places = [each for each in self._places[wanted.on] if each in self._frames]
        if not places:
            return Count(wanted, 0, f"there is no port {self._places[wanted.on][0].link}")
        return Count(wanted, sum(matches(wanted, ends, seen) for seen in self._seen(wanted)))

    def _seen(self, wanted: Receiver) -> Iterable[Seen]:
        for place in self._places[wanted.on]:
            yield from (seen for seen, out in self._frames.get(place, ()) if out == wanted.into)

    def seen(self, wanted: Receiver, names: Mapping[Address, str]) -> str:
        """A readable summary of all frames received there."""
        return summary(list(self._seen(wanted)), names)
