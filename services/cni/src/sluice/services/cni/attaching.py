"""The steps of an attachment: each is idempotent, and the daemon may die after any of them.

An ADD assigns addresses, creates the veth pair, and adds the port with the external_ids that describe the Pod, in this
order; a DEL undoes them in reverse. The bridge is `secure`, so the port is closed until node-ovs knows the Pod and its
programs.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import blake2s
from pathlib import Path
from weakref import WeakValueDictionary

import structlog
from pyroute2 import NetlinkError

from sluice.contracts.ids import Uid
from sluice.drivers import veth
from sluice.drivers.jsonrpc import RpcGone
from sluice.drivers.ovsdb.client import NotApplied, Ovsdb, PortFailed, TransactionRefused
from sluice.drivers.ovsdb.operations import NewPort
from sluice.drivers.ovsdb.pods import PodIds, to_external_ids
from sluice.drivers.ovsdb.rows import Interface
from sluice.services.cni import bridge
from sluice.services.cni.addresses import Addresses
from sluice.services.cni.protocol import Attached, CniFailed, Code, Owner, Request
from sluice.services.cni.settings import CniSettings

log = structlog.get_logger()

CONTAINER, INTERFACE = "sluice.container", "sluice.interface"
"""external_ids of a port that we added: its owner, in addition to those that describe the Pod."""


def host_end(owner: Owner) -> str:
    """The name of the node's end: the same for the same owner, at most 15 characters, and distinct from other links."""
    return "sl" + blake2s(f"{owner.container}/{owner.interface}".encode(), digest_size=6).hexdigest()


AT_ONCE = 8
"""Concurrent requests: if a hundred arrive together, they finish one after the other, not all at the end."""


class Attaching:
    """All attachments of a node. Handles one request per owner at a time."""

    def __init__(self, settings: CniSettings, addresses: Addresses) -> None:
        self._settings, self._addresses = settings, addresses
        self._node = Path(settings.netns) if settings.netns else Path("/proc/self/ns/net")
        self._working = asyncio.Semaphore(AT_ONCE)
        self._locks = WeakValueDictionary[Owner, asyncio.Lock]()

    async def add(self, request: Request) -> Attached:
        """Give the Pod its interface, and the switch a closed port for it.

        Raises:
            CniFailed: that failed; what was done is undone, now or by the DEL that follows.
        """
        owner, name = request.owner, host_end(request.owner)
        async with self._alone(owner), self._database() as ovsdb:
            await bridge.must_be_secure(ovsdb, self._settings.bridge)
            await self._clear(ovsdb, name)  # left by an incomplete ADD
            given = self._addresses.give(owner)
            mac = veth.mac_of(given[0])
            link = veth.Link(name, mac, given, owner.interface, request.config.mtu or self._settings.mtu)
            ids = to_external_ids(PodIds(request.pod, Uid(request.uid), mac, given))
            port = NewPort(name=name, external_ids={**ids, CONTAINER: owner.container, INTERFACE: owner.interface})
            try:
                await asyncio.to_thread(self._plug, Path(request.netns), link)
                await ovsdb.add_ports(self._settings.bridge, port)
            except BaseException:
                await self._clear(ovsdb, name)
                self._addresses.release(owner)
                raise
        log.info("pod_attached", pod=request.pod, uid=request.uid, port=name, addresses=given)
        return Attached(name, mac, given)

    async def delete(self, owner: Owner) -> None:
        """Remove everything that belongs to the attachment, if there is anything."""
        async with self._alone(owner), self._database() as ovsdb:
            await self._clear(ovsdb, host_end(owner))
            self._addresses.release(owner)
        log.info("pod_detached", container=owner.container, interface=owner.interface)

    async def check(self, request: Request) -> None:
        """Check that everything is as the ADD left it.

        Raises:
            CniFailed: says what is not.
        """
        owner, name = request.owner, host_end(request.owner)
        given = self._addresses.of(owner)
        if not given:
            raise CniFailed(
                Code.UNKNOWN_CONTAINER,
                f"container {owner.container} has no interface {owner.interface} that Sluice attached",
            )
        async with self._alone(owner), self._database() as ovsdb:
            ports = {each.name: each for each in await self._interfaces(ovsdb)}
        port = ports.get(name)
        if port is None or not port.ofport or port.external_ids.get(CONTAINER) != owner.container:
            raise CniFailed(Code.NOT_AS_IT_WAS, f"the switch has no port {name} for it; DEL and ADD create it again")
        there = await asyncio.to_thread(veth.addresses_of, Path(request.netns), owner.interface)
        if missing := set(given) - there:
            lacking = ", ".join(sorted(missing))
            raise CniFailed(Code.NOT_AS_IT_WAS, f"{owner.interface} in {request.netns} lacks {lacking}")

    async def keep(self, valid: frozenset[Owner]) -> None:
        """Remove the attachments of all other owners."""
        async with self._database() as ovsdb:
            stored = {self._owner(each) for each in await self._interfaces(ovsdb)} - {None}
        for owner in sorted((self._addresses.owners | {each for each in stored if each is not None}) - valid):
            await self.delete(owner)

    async def ready(self) -> None:
        """Check that an ADD could succeed.

        Raises:
            CniFailed: says why it would fail.
        """
        async with self._database() as ovsdb:
            await bridge.must_be_secure(ovsdb, self._settings.bridge)

    async def sweep(self) -> None:
        """Remove ports whose Pods have no address: they are from before a reboot."""
        async with self._database() as ovsdb:
            for each in await self._interfaces(ovsdb):
                owner = self._owner(each)
                if owner is not None and owner not in self._addresses.owners:
                    log.warning("stale_port_removed", port=each.name, container=owner.container)
                    await self._clear(ovsdb, each.name)

    # ------------------------------------------------------------------------------------------------------- steps

    def _alone(self, owner: Owner) -> asyncio.Lock:
        """The owner's lock, which exists as long as somebody holds it or waits for it."""
        return self._locks.setdefault(owner, asyncio.Lock())

    def _plug(self, pod: Path, link: veth.Link) -> None:
        try:
            veth.plug(pod, self._node, link, bridge.GATEWAY_MAC)
            veth.raise_links(self._node, [link.host_end])
        except FileNotFoundError as error:
            raise CniFailed(
                Code.UNKNOWN_CONTAINER, f"no network namespace {error.filename}: has the Pod ended?"
            ) from error
        except (OSError, NetlinkError) as error:
            raise CniFailed(Code.IO, f"the links of {link.pod_end} in {pod}: {error}") from error

    async def _clear(self, ovsdb: Ovsdb, name: str) -> None:
        try:
            await ovsdb.delete_ports(self._settings.bridge, [name])
        except NotApplied:
            log.warning("port_removal_not_seen", port=name)  # it is stored: the switch catches up once it is back
        await asyncio.to_thread(veth.remove_links, self._node, [name])

    async def _interfaces(self, ovsdb: Ovsdb) -> tuple[Interface, ...]:
        monitor = await ovsdb.monitor()
        try:
            await anext(monitor)
            return monitor.view.interfaces(self._settings.bridge)
        finally:
            await ovsdb.stop(monitor)

    @staticmethod
    def _owner(interface: Interface) -> Owner | None:
        ids = interface.external_ids
        return Owner(ids[CONTAINER], ids[INTERFACE]) if CONTAINER in ids and INTERFACE in ids else None

    @asynccontextmanager
    async def _database(self) -> AsyncIterator[Ovsdb]:
        path = self._settings.db_socket
        async with self._working:
            try:
                ovsdb = await Ovsdb.connect(path)
            except OSError as error:
                raise CniFailed(Code.AGAIN, f"{path}: {error.strerror or error}: is Open vSwitch running?") from error
            try:
                yield ovsdb
            except (RpcGone, NotApplied) as error:
                raise CniFailed(Code.AGAIN, str(error)) from error
            except (TransactionRefused, PortFailed) as error:
                raise CniFailed(Code.IO, str(error)) from error
            finally:
                ovsdb.close()
