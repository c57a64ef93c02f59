"""NodePorts handed over by a kernel, in a namespace of the test's own."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

from sluice.contracts.ids import Address
from sluice.drivers import veth
from sluice.drivers.namespaces import inside
from sluice.drivers.node_ports import hand_over

pytestmark = pytest.mark.datapath

OWN = (Address("192.0.2.1"), Address("2001:db8::1"))
PORTS = "30000:32767"
GATEWAY = "gw0"


class Node:
    def __init__(self, name: str) -> None:
        self.name = name

    def ip(self, *words: str) -> str:
        return subprocess.run(["ip", "-n", self.name, *words], check=True, capture_output=True, text=True).stdout

    def hand_over(self, *addresses: Address, ports: str = PORTS) -> bool:
        return inside(Path("/run/netns", self.name), lambda: hand_over(GATEWAY, addresses, ports))

    def way(self, to: str, *words: str) -> str:
        """The interface that a packet to this address goes out by; `local` if it stays."""
        found: list[Any] = json.loads(self.ip("-j", "route", "get", to, *words))
        return "local" if found[0].get("type") == "local" else str(found[0]["dev"])

    def rules(self) -> str:
        return self.ip("-4", "rule") + self.ip("-6", "rule")


@pytest.fixture
def node() -> Iterator[Node]:
    """With an uplink, somebody whom it forwards for, and a gateway to its switch."""
    made = Node(f"node-ports-{os.getpid()}")
    subprocess.run(["ip", "netns", "add", made.name], check=True)
    for name in ("up0", "other0", GATEWAY):
        made.ip("link", "add", name, "type", "bridge")
        made.ip("link", "set", name, "up")
    made.ip("addr", "add", "192.0.2.1/24", "dev", "up0")
    made.ip("addr", "add", "2001:db8::1/64", "dev", "up0", "nodad")
    made.ip("route", "add", "198.51.100.0/24", "dev", "other0")

    def gateway() -> None:
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
        Path("/proc/sys/net/ipv4/conf/all/rp_filter").write_text("1")
        with IPRoute() as netlink:
            (index,) = netlink.link_lookup(ifname=GATEWAY)
            for address in veth.GATEWAY.values():
                mac = "02:00:00:00:00:01"
                netlink.neigh("replace", dst=address, lladdr=mac, ifindex=index, state=veth.NUD_PERMANENT)

    inside(Path("/run/netns", made.name), gateway)
    made.ip("route", "add", "10.64.0.0/24", "dev", GATEWAY)
    yield made
    subprocess.run(["ip", "netns", "del", made.name], check=True)


FROM_OUTSIDE = ("from", "192.0.2.9", "iif", "up0", "ipproto")


def test_what_is_sent_to_a_node_port_leaves_by_the_gateway(node: Node) -> None:
    assert node.way("192.0.2.1", *FROM_OUTSIDE, "tcp", "dport", "30080") == "local"

    assert node.hand_over(*OWN)

    for protocol in ("tcp", "udp"):
        assert node.way("192.0.2.1", *FROM_OUTSIDE, protocol, "dport", "30080") == GATEWAY
    assert "ipproto sctp dport 30000-32767 lookup 5100" in node.rules()  # nobody can ask a kernel about SCTP
    assert node.way("192.0.2.1", *FROM_OUTSIDE, "tcp", "dport", "29999") == "local"
    assert node.way("192.0.2.1", *FROM_OUTSIDE, "icmp") == "local"
    assert node.way("192.0.2.1", "ipproto", "tcp", "dport", "30080") == "local"  # the node's own
    assert node.way("198.51.100.1", *FROM_OUTSIDE, "tcp", "dport", "30080") == "other0"  # what it forwards
    six = ("from", "2001:db8::9", "iif", "up0", "ipproto", "tcp", "dport")
    assert node.way("2001:db8::1", *six, "30080") == GATEWAY
    assert node.way("2001:db8::1", *six, "80") == "local"


def test_what_the_switch_sends_comes_through(node: Node) -> None:
    """Answers have the node's address, and something may be for the node itself; here rp_filter is strict elsewhere."""
    node.hand_over(*OWN)

    answer = ("from", "192.0.2.1", "iif", GATEWAY, "ipproto", "tcp", "sport", "30080", "dport", "31000")
    assert node.way("192.0.2.9", *answer) == "up0"
    assert node.way("192.0.2.1", "from", "10.64.0.2", "iif", GATEWAY, "ipproto", "tcp", "dport", "30080") == "local"


def test_again_is_once_and_what_others_remove_comes_back(node: Node) -> None:
    node.ip("rule", "add", "pref", "100", "from", "203.0.113.0/24", "lookup", "77")
    assert node.hand_over(*OWN)
    done = node.rules()
    assert "\n100:\tfrom 203.0.113.0/24 lookup 77\n" in done

    assert not node.hand_over(*OWN)
    node.ip("rule", "del", "pref", "3", "ipproto", "udp")
    node.ip("route", "flush", "table", "5100")

    assert node.hand_over(*OWN)
    assert sorted(node.rules().splitlines()) == sorted(done.splitlines())
    assert node.way("192.0.2.1", *FROM_OUTSIDE, "udp", "dport", "30080") == GATEWAY


def test_addresses_and_ports_change_and_end(node: Node) -> None:
    before = node.rules()
    node.hand_over(*OWN)

    assert node.hand_over(OWN[0], ports="20000:20010")

    assert node.way("192.0.2.1", *FROM_OUTSIDE, "tcp", "dport", "20005") == GATEWAY
    assert node.way("192.0.2.1", *FROM_OUTSIDE, "tcp", "dport", "30080") == "local"
    assert node.ip("-6", "rule") == before[before.index("0:", 2) :]
    assert node.ip("-6", "route", "show", "table", "all").count("5100") == 0

    assert node.hand_over(*OWN, ports="")

    assert node.rules() == before
    assert node.ip("route", "show", "table", "all").count("5100") == 0
    assert not node.hand_over(ports="")


def test_without_a_gateway_it_is_told(node: Node) -> None:
    node.ip("link", "del", GATEWAY)

    with pytest.raises(ValueError, match=r"gw0: no such interface"):
        node.hand_over(*OWN)
