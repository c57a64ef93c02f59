"""The lab's side of inline devices: which ones run, where, and whether they are working."""

import asyncio
import socket
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from sluice.drivers import namespaces
from sluice.lab import forwarding
from sluice.lab.capture.counting import udp_ports
from sluice.lab.capture.tunnels import DEFAULT_PORTS
from sluice.lab.forwarding.order import Order, ready
from sluice.lab.processes import Program, Supervised
from sluice.lab.receiving import Forwarder, Receiver

AT_WORK_S = 30.0
"""How long a forwarder may take to start, or to restart with new links."""

POLL_S = 0.02


class NotAtWork(Exception):
    """A forwarder does not start working; the message has the end of its log."""


class Standing(NamedTuple):
    """A forwarder and its place."""

    forwarder: Forwarder
    where: str
    """Its node or host, for display."""

    netns: Path
    from_: str
    to: str
    """Its links; `to` is empty if it sends through a tunnel."""


class _Running(NamedTuple):
    program: Program
    task: asyncio.Task[None]
    order: Order


class Forwarders:
    """The forwarders of a lab."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self._folder, self._variables = folder, variables
        self._running: dict[Standing, _Running] = {}
        self._started = 0

    async def use(self, wanted: Iterable[Standing], receivers: Iterable[Receiver] = ()) -> None:
        """Run exactly these; `receivers` determine the ports on which tunnels end."""
        kept = frozenset(wanted)
        for gone in self._running.keys() - kept:
            await self._stop(self._running.pop(gone))
        ports = {port: str(proto) for port, proto in udp_ports(receivers).items()}
        for new in sorted(kept - self._running.keys(), key=str):
            self._running[new] = await self._start(new, ports)

    async def stop(self) -> None:
        await self.use(())

    async def at_work(self) -> None:
        """Wait until all of them that have their links are forwarding.

        Raises:
            NotAtWork
        """
        for standing, running in self._running.items():
            try:
                async with asyncio.timeout(AT_WORK_S):
                    while not _at_work(standing, running.order):  # noqa: ASYNC110  # another process signals through a file
                        await asyncio.sleep(POLL_S)
            except TimeoutError as error:
                raise NotAtWork(
                    f"the forwarder from {standing.from_} on {standing.where} is not at work after {AT_WORK_S:g} s: "
                    f"{running.program.last_words()}"
                ) from error

    async def _start(self, standing: Standing, ports: Mapping[int, str]) -> _Running:
        self._started += 1
        folder = self._folder / str(self._started)
        folder.mkdir(parents=True)
        order = _order(standing, folder, ports)
        program = Program(
            [sys.executable, "-P", "-m", forwarding.__name__, msgspec.json.encode(order).decode()],
            self._variables,
            folder / "log",
        )
        await program.start()
        name = f"forwarder from {standing.from_} on {standing.where}"
        task = asyncio.create_task(Supervised(name, program.start, program.ended).run(), name=name)
        return _Running(program, task, order)

    async def _stop(self, running: _Running) -> None:
        running.task.cancel()
        await asyncio.wait([running.task])
        running.program.kill()
        await running.program.ended()


def _order(standing: Standing, folder: Path, ports: Mapping[int, str]) -> Order:
    back = standing.forwarder.back
    port = 0
    if back is not None and back.proto != "gre":
        port = back.destination_port or next(number for number, proto in DEFAULT_PORTS.items() if proto == back.proto)
    return Order(
        netns=str(standing.netns),
        from_=standing.from_,
        to=standing.to,
        back=back.proto if back else "",
        vni=back.vni if back else 0,
        key=back.key if back else None,
        port=port,
        ports=dict(ports),
        drop=standing.forwarder.drop,
        rules=standing.forwarder.suricata,
        folder=str(folder),
    )


def _at_work(standing: Standing, order: Order) -> bool:
    """Whether it reports that it works with the current links, or a link is missing."""
    links = [standing.from_, *([standing.to] if standing.to else [])]
    try:
        indexes = namespaces.inside(standing.netns, lambda: tuple(map(socket.if_nametoindex, links)))
    except OSError:
        return True
    try:
        return Path(order.folder, "ready").read_text() == ready(indexes)
    except FileNotFoundError:
        return False
