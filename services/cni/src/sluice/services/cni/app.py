"""Wiring: the socket, node setup, the plugin's files, and health. It does not use the bus: Pods start without it."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import Mapping
from contextlib import aclosing
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import NoReturn

import msgspec
import structlog
import uvloop
from pyroute2 import NetlinkError

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
from sluice.services.cni.source import RangesChanged, Source

log = structlog.get_logger()

SERVICE = "cni"

_free = METRICS.gauge("sluice_cni_free_addresses", "Free addresses for Pods, of the range with the fewest")

HAND_OVER_S = 30.0
"""Interval between checks that NodePorts go to the switch: whoever manages the host's network may remove rules."""


def run(environ: Mapping[str, str] = os.environ) -> NoReturn:
    """Run the daemon until it is told to end (0) or fails (1); 2 for invalid settings."""
    try:
        own = settings.load(CniSettings, "SLUICE_CNI_", environ)
        for each in (own.pod_cidrs + "," + own.cluster_cidrs).split(","):
            ip_network(each or "0.0.0.0/0")
        for each in own.node_addresses.split(",") if own.node_addresses else ():
            ip_address(each)
        written(own.node_ports)
    except (ConfigError, ValueError) as error:
        print(error, file=sys.stderr)  # noqa: T201  # before logging is set up
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
    source = Source(own)
    attaching: Attaching | None = None

    async def lacking() -> list[str]:
        if attaching is None:
            return [source.waits]
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
    node = await source.first()
    addresses = Addresses(Path(own.state_dir), node.ranges)
    _free.follow(lambda: addresses.free)
    made = Attaching(own, addresses)
    await _set_up(own, made, node, source)
    if own.set_up_node:
        await _hand_over(own, node)
    listening = await server.serve(Path(own.socket), made)
    if own.install_bin:
        await asyncio.to_thread(install, own)
    attaching = made
    log.info("pods_may_come", ranges=node.ranges, socket=own.socket)
    async with aclosing(source), listening, asyncio.TaskGroup() as tasks:
        tasks.create_task(listening.serve_forever(), name="plugin")
        if own.set_up_node:
            tasks.create_task(_keep_handing_over(own, source), name="node ports")
        if source.asks:
            tasks.create_task(_keep_reading(own, source), name="node")


async def _set_up(own: CniSettings, attaching: Attaching, node: Node, source: Source) -> None:
    """Set up the bridge and remove ports of Pods from before a reboot; waits for the switch if necessary."""
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
            source.waits = f"no bridge {own.bridge} yet; is Open vSwitch running? {error}"
            log.warning("switch_awaited", reason=str(error))
            await asyncio.sleep(1)
        else:
            return


async def _hand_over(own: CniSettings, node: Node) -> bool:
    """Direct NodePorts to the switch, or log why not: Pods start regardless. True if they did not go there before."""
    try:
        return await asyncio.to_thread(bridge.hand_node_ports_over, own, node)
    except (OSError, NetlinkError, ValueError) as error:  # ValueError: there is no gateway at the moment
        log.warning("node_ports_not_handed_over", reason=str(error))
        return False


async def _keep_handing_over(own: CniSettings, source: Source) -> None:
    while True:
        await asyncio.sleep(HAND_OVER_S)
        if await _hand_over(own, source.node):
            log.warning("node_ports_handed_over_again", reason="another program changed rules or routes of the node")


async def _keep_reading(own: CniSettings, source: Source) -> None:
    """Keep NodePorts in line with the Node's addresses.

    Raises:
        RangesChanged: the next start sets the node up with the new ranges.
    """
    while True:
        await asyncio.sleep(own.node_interval_s * random.uniform(0.9, 1.1))  # spread nodes that started together
        try:
            changed = await source.read_again()
        except RangesChanged as error:
            log.error(
                "ranges_changed", node=own.node_name, reason=str(error), next="the service restarts with the new ranges"
            )
            raise
        if changed and own.set_up_node:
            await _hand_over(own, source.node)
