"""Wiring: the socket, the node's set-up, the plugin's files, and health. There is no bus in it: Pods start without."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import NoReturn

import msgspec
import structlog
import uvloop
from msgspec import Struct, field
from pyroute2 import NetlinkError

from sluice.contracts.ids import Address
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.dataplane.node_ports import written
from sluice.drivers.jsonrpc import RpcGone
from sluice.drivers.ovsdb.client import NotApplied, Ovsdb
from sluice.runtime import http, logs, settings
from sluice.runtime.metrics import METRICS
from sluice.runtime.settings import ConfigError
from sluice.services.cni import bridge, server
from sluice.services.cni.addresses import Addresses
from sluice.services.cni.attaching import Attaching
from sluice.services.cni.bridge import Node
from sluice.services.cni.install import install
from sluice.services.cni.protocol import CniFailed
from sluice.services.cni.settings import CniSettings

log = structlog.get_logger()

SERVICE = "cni"


HAND_OVER_S = 30.0
"""Between two looks whether NodePorts still go to the switch: whoever sets the host's network up may remove rules."""


class _Spec(Struct):
    pod_cidrs: tuple[str, ...] = field(name="podCIDRs", default=())


class _Entry(Struct, frozen=True):
    type: str
    address: Address


class _Status(Struct, frozen=True):
    addresses: tuple[_Entry, ...] = ()


class _Node(Struct):
    spec: _Spec
    status: _Status = _Status()


def run(environ: Mapping[str, str] = os.environ) -> NoReturn:
    """Run the daemon until it is told to end (0) or fails (1); 2 on wrong settings."""
    try:
        own = settings.load(CniSettings, "SLUICE_CNI_", environ)
        for each in (own.pod_cidrs + "," + own.cluster_cidrs).split(","):
            ip_network(each or "0.0.0.0/0")
        for each in own.node_addresses.split(",") if own.node_addresses else ():
            ip_address(each)
        written(own.node_ports)
    except (ConfigError, ValueError) as error:
        print(error, file=sys.stderr)  # noqa: T201  # nobody reads logs yet
        sys.exit(2)
    logs.configure(SERVICE, level=own.log_level, node=own.node_name)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(_until_told(own)))


async def _until_told(own: CniSettings) -> int:
    task = asyncio.create_task(_work(own), name=SERVICE)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        log.info("service_ended", failed=False)
        return 0
    except Exception as error:
        log.exception("service_failed", reason=f"{type(error).__name__}: {error}")
    return 1


async def _work(own: CniSettings) -> None:
    log.info("service_started", settings=msgspec.structs.asdict(own))
    attaching: Attaching | None = None

    async def lacking() -> list[str]:
        if attaching is None:
            return ["the node's ranges of addresses, and its bridge"]
        try:
            await attaching.ready()
        except CniFailed as error:
            return [error.message]
        return []

    async def asked(scope: http.Scope, _receive: http.Receive, send: http.Send) -> None:
        status, body = 200, b"alive\n"
        match scope["path"]:
            case "/livez":
                pass
            case "/readyz":
                absent = await lacking()
                status, body = (503 if absent else 200), ("\n".join(absent) or "ready").encode() + b"\n"
            case "/metrics":
                body = METRICS.text().encode()
            case _:
                status, body = 404, b"not found\n"
        kind = [(b"content-type", b"text/plain; version=0.0.4")]
        await send({"type": "http.response.start", "status": status, "headers": kind})
        await send({"type": "http.response.body", "body": body})

    if own.health_port >= 0:
        health = await http.serve(asked, own.health_host, own.health_port)
        log.info("health_served", address=health.sockets[0].getsockname()[:2])
    node = await _node(own)
    addresses = Addresses(Path(own.state_dir), node.ranges)
    made = Attaching(own, addresses)
    await _set_up(own, made, node)
    if own.set_up_node:
        await _hand_over(own, node)
    listening = await server.serve(Path(own.socket), made)
    if own.install_bin:
        await asyncio.to_thread(install, own)
    attaching = made
    log.info("pods_may_come", ranges=node.ranges, socket=own.socket)
    async with listening, asyncio.TaskGroup() as tasks:
        tasks.create_task(listening.serve_forever(), name="plugin")
        if own.set_up_node:
            tasks.create_task(_keep_handing_over(own, node), name="node ports")


async def _set_up(own: CniSettings, attaching: Attaching, node: Node) -> None:
    """The node has its bridge and no port of a Pod before a reboot; a switch that is not there is waited for."""
    while True:
        try:
            if own.set_up_node:
                ovsdb = await Ovsdb.connect(own.db_socket)
                try:
                    await bridge.set_up(ovsdb, own, node.ranges)
                finally:
                    ovsdb.close()
            await attaching.sweep()
        except (OSError, RpcGone, NotApplied, CniFailed) as error:
            log.warning("switch_awaited", reason=str(error))
            await asyncio.sleep(1)
        else:
            return


async def _hand_over(own: CniSettings, node: Node) -> bool:
    """NodePorts go to the switch, or it is logged why not: Pods come all the same. True if they did not before."""
    try:
        return await asyncio.to_thread(bridge.hand_node_ports_over, own, node)
    except (OSError, NetlinkError, ValueError) as error:  # ValueError: there is no gateway at the moment
        log.warning("node_ports_not_handed_over", reason=str(error))
        return False


async def _keep_handing_over(own: CniSettings, node: Node) -> None:
    while True:
        await asyncio.sleep(HAND_OVER_S)
        if await _hand_over(own, node):
            log.warning("node_ports_handed_over_again", reason="somebody else changed rules or routes of the node")


async def _node(own: CniSettings) -> Node:
    """What the settings say, or else the Node, once it has podCIDRs."""
    said = tuple(map(Address, own.node_addresses.split(","))) if own.node_addresses else ()
    if own.pod_cidrs:
        return Node(ranges=tuple(own.pod_cidrs.split(",")), addresses=said)
    found = await _asked(own.node_name)
    internal = tuple(each.address for each in found.status.addresses if each.type == "InternalIP")
    return Node(ranges=found.spec.pod_cidrs, addresses=said or internal)


async def _asked(node: str) -> _Node:
    """The Node, once it has podCIDRs."""
    # It takes half a second to import, which nobody shall pay who says the ranges.
    from sluice.drivers.kubernetes.access import Access, BadAccess  # noqa: PLC0415  # see above
    from sluice.drivers.kubernetes.client import (  # noqa: PLC0415  # see above
        Backoff,
        Client,
        Refused,
        Unreachable,
        path,
    )

    backoff = Backoff()
    while True:
        try:
            async with Client(Access(), f"sluice/{SERVICE}") as client:
                while True:
                    found = msgspec.json.decode(
                        await client.ask("GET", path(RESOURCES[Kind.NODE], "", node)), type=_Node
                    )
                    if found.spec.pod_cidrs:
                        return found
                    log.warning("ranges_awaited", node=node, reason="the Node has no spec.podCIDRs yet")
                    await asyncio.sleep(2)
        except (Refused, Unreachable, BadAccess) as error:
            log.warning("ranges_awaited", node=node, reason=str(error))
            await asyncio.sleep(backoff.wait_s(error))
