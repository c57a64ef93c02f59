"""Lifelines of egress with real packets, where addresses are turned into others before the hook, as by kube-proxy."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from sluice.contracts.programs import Direction
from sluice.dataplane.addresses import PORTS, network
from sluice.dataplane.host import guard, text, wire
from sluice.dataplane.host.plan import plan
from sluice.dataplane.host.table import Table
from sluice.dataplane.protocols import IpProto
from sluice.drivers.namespaces import inside
from sluice.drivers.nftables.tables import Tables
from sluice.testkit import builders
from sluice.testkit.expanders import story
from sluice.testkit.host_node import HostNode

pytestmark = pytest.mark.datapath

ENDPOINT, ENDPOINT6 = "198.51.100.2", "fd51::2"
PORT, OPEN_PORT = 14222, 14223

NETWORK = """\
-n {own} link add eth0 type veth peer name eth0 netns {world}
-n {own} address add 198.51.100.1/24 dev eth0
-n {own} address add fd51::1/64 dev eth0 nodad
-n {world} address add 198.51.100.2/24 dev eth0
-n {world} address add fd51::2/64 dev eth0 nodad
-n {own} link set eth0 up
-n {world} link set eth0 up
-n {own} route add default via 198.51.100.2
-n {own} -6 route add default via fd51::2
"""

KUBE_PROXY = f"""\
table ip nat {{
  chain output {{
    type nat hook output priority -100;
    ip daddr {{ 10.96.0.0/16, 10.97.0.0/16 }} meta l4proto tcp dnat to {ENDPOINT}:{PORT}
  }}
}}
table ip6 nat {{
  chain output {{
    type nat hook output priority -100;
    ip6 daddr fd96::/64 meta l4proto tcp dnat to [{ENDPOINT6}]:{PORT}
  }}
}}
"""

LIFELINES = ("tcp:4222:10.96.0.10", "tcp:4222:[fd96::10]", "tcp:30000-30010:10.97.0.0/16", "udp:4223:10.96.0.10",
             f"tcp:{OPEN_PORT}:{ENDPOINT}", "tcp:443")  # fmt: skip
EVERY_PORT = guard.Lifeline("range", Direction.EGRESS, IpProto.TCP, 0, PORTS - 1, network("fd96::f0/124"))

PASS = [("10.96.0.10", 4222), ("fd96::10", 4222), ("10.97.9.9", 30_000), ("10.97.9.9", 30_010), ("fd96::f7", 9),
        (ENDPOINT, OPEN_PORT), ("10.96.0.77", 443), ("fd96::77", 443)]  # fmt: skip
SHUT = [("10.96.0.11", 4222), ("fd96::11", 4222), ("10.96.0.10", 4223), ("10.97.9.9", 30_011), ("10.97.9.9", 29_999),
        (ENDPOINT, PORT), (ENDPOINT6, OPEN_PORT)]  # fmt: skip


@pytest.fixture
def netns() -> Iterator[Path]:
    """The node's; at the other end of its link, in a namespace of its own, is the endpoint."""
    own, world = (f"sluice-lifeline-{name}-{os.getpid()}" for name in ("own", "world"))
    with ExitStack() as stack:
        for name in (own, world):
            subprocess.run(["ip", "netns", "add", name], check=True)
            stack.callback(subprocess.run, ["ip", "netns", "del", name], check=True)
        for words in NETWORK.format(own=own, world=world).splitlines():
            subprocess.run(["ip", *words.split()], check=True)
        for port in (PORT, OPEN_PORT):
            stack.enter_context(inside(Path("/run/netns", world), partial(listener, port)))
        yield Path("/run/netns", own)


def listener(port: int) -> socket.socket:
    """Of both versions of IP; the kernel accepts for it."""
    return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=100)


def load(netns: Path, table: str) -> None:
    subprocess.run(["ip", "netns", "exec", netns.name, "nft", "-f", "-"], input=table, text=True, check=True)


def connected(to: tuple[str, int], patience_s: float) -> bool:
    """Whether there comes to be a connection."""
    try:
        socket.create_connection(to, timeout=patience_s).close()
    except TimeoutError:
        return False
    return True


def shut() -> Table:
    """That of a node which may send nothing but what its lifelines let pass."""
    spec = {"appliedTo": [{"nodeSelector": {}}], "egress": [{"action": "Drop"}]}
    there = HostNode(story(builders.node("node-1", ip=("198.51.100.1",)), builders.acnp("shut", spec)))
    said = [guard.parse("setting", Direction.EGRESS, each) for each in LIFELINES]
    there.engine.guard_is((*said, EVERY_PORT, EVERY_PORT._replace(direction=Direction.INGRESS), *guard.dhcp()))
    return there.engine.table()


def test_a_lifeline_is_the_address_that_is_asked_for_whatever_it_is_turned_into(netns: Path) -> None:
    tables, desired = Tables(netns), wire.encoded(shut())
    load(netns, KUBE_PROXY)
    assert [
        to for to in (*PASS, *SHUT) if not inside(netns, partial(connected, to, 10))
    ] == []  # the network does its part

    tables.apply(plan(desired, wire.NOT_THERE))

    assert [to for to in PASS if not inside(netns, partial(connected, to, 10))] == []
    assert [to for to in SHUT if inside(netns, partial(connected, to, 0.3))] == []
    assert tables.read() == desired


def test_lifelines_are_read_by_people_as_the_kernel_holds_them(netns: Path) -> None:
    table = shut()

    load(netns, text.write(table))

    assert Tables(netns).read() == wire.encoded(table)
