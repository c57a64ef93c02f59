"""Servers of NATS that are one cluster, each a process: to be killed, wiped, and cut off from one another.

They talk on 127.0.0.1, but for one that may be shut away in a network namespace: it has one link to the others, which
can be cut, and one to its clients, which stays. So a client can be made to sit with the minority.
"""

import asyncio
import json
import os
import shutil
import socket
from collections.abc import Iterable
from http import HTTPStatus
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple, Self
from urllib.request import urlopen

from pyroute2 import IPRoute, NetNS

from sluice.runtime.bus import Bus, Limits
from sluice.runtime.natsserver import NatsServer

LIMITS = Limits(max_bytes=64 << 20, replicas=3)
NAME = "sluice-test"
_SIZE = 3
_WHOLE_S = 60
_HEARD_S = 1
"""Between two pings of a route: a cut link is noticed after two of them."""


class Cell(NamedTuple):
    """A namespace with two links to where we are: the others' and the clients'. Addresses are of RFC 2544.

    Another cell on this machine has other names and addresses.
    """

    netns: str
    routes: str
    """Our end of the link to the other servers; a name of 15 characters at most."""

    clients: str
    outer_routes: str
    inner_routes: str
    outer_clients: str
    inner_clients: str

    @classmethod
    def of_this_process(cls) -> Self:
        number = os.getpid()
        net = IPv4Address("198.18.0.0") + 8 * (number % (1 << 14))
        addresses = [str(net + offset) for offset in (1, 2, 5, 6)]  # two nets of four addresses each
        return cls(f"sluice-nats-{number}", f"nr{number}", f"nc{number}", *addresses)

    def make(self) -> None:
        with NetNS(self.netns) as inner, IPRoute() as outer:
            inner.link("set", index=1, state="up")
            for link, ours, theirs in (
                (self.routes, self.outer_routes, self.inner_routes),
                (self.clients, self.outer_clients, self.inner_clients),
            ):
                outer.link("add", ifname=link, kind="veth", peer={"ifname": f"{link}i", "net_ns_fd": self.netns})
                for end, name, address in ((outer, link, ours), (inner, f"{link}i", theirs)):
                    (index,) = end.link_lookup(ifname=name)
                    end.addr("add", index=index, address=address, prefixlen=30)
                    end.link("set", index=index, state="up")

    def connect(self, *, to_others: bool) -> None:
        """Mend the link to the other servers, or cut it."""
        with IPRoute() as outer:
            (index,) = outer.link_lookup(ifname=self.routes)
            outer.link("set", index=index, state="up" if to_others else "down")

    def remove(self) -> None:
        with IPRoute() as outer:
            for link in (self.routes, self.clients):
                for index in outer.link_lookup(ifname=link):
                    outer.link("del", index=index)
        with NetNS(self.netns) as inner:
            inner.remove()


class Member(NatsServer):
    """One server of a cluster."""

    def __init__(
        self, folder: Path, place: "Place", routes: Iterable[str], netns: str | None, guarded: Path | None = None
    ) -> None:
        super().__init__(folder, place.port, guarded=guarded)
        self._keys = guarded.parent if guarded else None
        self.place = place
        self._routes = tuple(routes)
        self._netns = netns

    @property
    def url(self) -> str:
        return f"{'tls' if self._keys else 'nats'}://{self.place.client_address}:{self.port}"

    async def whole(self) -> None:
        """Return when it has all that the others have, of every stream: as the server itself says."""
        async with asyncio.timeout(_WHOLE_S):
            while not await asyncio.to_thread(self._healthy):  # noqa: ASYNC110  # only asking can tell
                await asyncio.sleep(0.1)

    def _healthy(self) -> bool:
        address = f"http://{self.place.client_address}:{self.place.monitor_port}/healthz"
        try:
            with urlopen(address, timeout=2) as answer:  # its scheme is in the line above
                return bool(answer.status == HTTPStatus.OK)
        except OSError:
            return False

    async def wipe(self) -> None:
        """It is killed, and all it kept is gone: what takes its place begins with nothing."""
        await self.kill()
        shutil.rmtree(self.folder)

    def _command(self) -> tuple[str, ...]:
        within = (f"--net=/run/netns/{self._netns}",) if self._netns else ()
        return (*(("nsenter", *within) if within else ()), *super()._command())

    def _config(self) -> str:
        listen = "0.0.0.0" if self._netns else "127.0.0.1"  # in a namespace with two links, both ours
        routes = ", ".join(json.dumps(route) for route in self._routes)
        return "\n".join(
            [
                super()._config().replace("listen: 127.0.0.1:", f"listen: {listen}:"),
                f"http: {json.dumps(f'{listen}:{self.place.monitor_port}')}",
                f"server_name: {json.dumps(self.place.name)}",
                "cluster {",
                f"  name: {NAME}",
                f"  listen: {json.dumps(f'{self.place.route_listen}:{self.place.route_port}')}",
                "  no_advertise: true",
                "  connect_retries: 100000",
                f"  ping_interval: {_HEARD_S}",
                f"  routes: [{routes}]",
                *(self._route_tls(self._keys) if self._keys else ()),
                "}",
                "",
            ]
        )

    @staticmethod
    def _route_tls(keys: Path) -> list[str]:
        files = {"cert_file": "tls.crt", "key_file": "tls.key", "ca_file": "ca.crt"}
        return ["  tls {", *(f"    {word}: {json.dumps(str(keys / name))}" for word, name in files.items()), "  }"]


class Place(NamedTuple):
    """Where a server is, for its clients and for the others."""

    name: str
    port: int
    client_address: str
    route_listen: str
    route_address: str
    """For those of 127.0.0.1."""

    route_port: int
    monitor_port: int


class NatsCluster:
    """Three servers. `start` returns when they are one; streams of three replicas may be made."""

    def __init__(self, members: list[Member], cell: Cell | None) -> None:
        self.members = members
        self.cell = cell

    @classmethod
    async def start(cls, folder: Path, *, cell: Cell | None = None, guarded: Path | None = None) -> Self:
        """With a cell the last of them is in there; `guarded` as of a single server."""
        if cell:
            await asyncio.to_thread(cell.make)  # pyroute2 has a loop of its own
        places = []
        ports = _free_ports(3 * _SIZE)
        for number, (port, route_port, monitor_port) in enumerate(
            zip(ports[::3], ports[1::3], ports[2::3], strict=True)
        ):
            inner = cell if number == _SIZE - 1 else None
            places.append(
                Place(
                    f"n{number}",
                    port,
                    inner.inner_clients if inner else "127.0.0.1",
                    "0.0.0.0" if cell else "127.0.0.1",  # the cell's links are the only others
                    inner.inner_routes if inner else "127.0.0.1",
                    route_port,
                    monitor_port,
                )
            )
        members = []
        for number, place in enumerate(places):
            shut_away = cell if number == _SIZE - 1 else None
            routes = [
                f"nats://{shut_away.outer_routes if shut_away else other.route_address}:{other.route_port}"
                for other in places
                if other is not place
            ]
            netns = shut_away.netns if shut_away else None
            members.append(Member(folder / place.name, place, routes, netns, guarded))
        cluster = cls(members, cell)
        try:
            await asyncio.gather(*(member.restart() for member in members))
        except BaseException:
            await cluster.stop()
            raise
        return cluster

    @property
    def url(self) -> str:
        """All of them, as settings take it."""
        return ",".join(member.url for member in self.members)

    async def leader(self, bus: Bus, stream: str) -> Member:
        """The server that leads the stream's replicas. Waits until one does."""
        async with asyncio.timeout(60):
            while True:
                try:
                    info = await bus.js.stream_info(stream)
                except Exception:  # noqa: BLE001  # there is none yet: that is what is waited for
                    info = None
                if info and info.cluster and info.cluster.leader:
                    return next(one for one in self.members if one.place.name == info.cluster.leader)
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        for member in self.members:
            await member.kill()
        if self.cell:
            await asyncio.to_thread(self.cell.remove)


def _free_ports(count: int) -> list[int]:
    """Ports that nobody has at this moment, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
