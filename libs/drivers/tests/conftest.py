"""A real switch for the tests of the drivers: one for all of them, in a namespace of its own, and a bridge for each."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import Term
from sluice.dataplane.protocols import EthType, IpProto
from sluice.drivers.openflow.switch import Switch
from sluice.drivers.ovsdb.client import Ovsdb
from sluice.lab.ovs import OvsNode

PREFIX = "drvt-"

Sample = tuple[Term, ...]
"""A term with the prerequisites that Open vSwitch asks for."""

NUMBERS = count(1)


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, timeout=60, capture_output=True, text=True).stdout


def sweep() -> None:
    """Take away what a killed run of these tests left: its namespaces are called after its process."""
    for line in ip("netns", "list").splitlines():
        name = line.split()[0]
        if name.startswith(PREFIX) and not Path(f"/proc/{name.removeprefix(PREFIX)}").exists():
            for pid in ip("netns", "pids", name).split():
                os.kill(int(pid), 9)
            ip("netns", "del", name)


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OvsNode]:
    sweep()
    netns = f"{PREFIX}{os.getpid()}"
    ip("netns", "add", netns)
    folder = tmp_path_factory.mktemp("ovs")
    try:
        node = asyncio.run(OvsNode.start(netns, folder))
        yield node
    finally:
        asyncio.run(OvsNode(netns, folder).stop())
        ip("netns", "del", netns)


@pytest.fixture
async def ovsdb(node: OvsNode) -> AsyncIterator[Ovsdb]:
    ovsdb = await Ovsdb.connect(node.db_socket)
    yield ovsdb
    ovsdb.close()


@pytest.fixture
async def bridge(node: OvsNode, ovsdb: Ovsdb) -> AsyncIterator[str]:
    name = f"br{next(NUMBERS)}"
    await node.ensure_bridge(name)
    yield name
    if node.vswitchd_pid is None:  # the test killed it
        await node.start_vswitchd()
    await ovsdb.delete_bridge(name)


@pytest.fixture
async def switch(node: OvsNode, bridge: str) -> AsyncIterator[Switch]:
    switch = await Switch.connect(node.mgmt_socket(bridge))
    yield switch
    switch.close()


@pytest.fixture
def ofctl(node: OvsNode, bridge: str) -> Callable[..., list[str]]:
    """Runs ovs-ofctl on the bridge, and returns the lines it prints."""

    def run(command: str, *arguments: str) -> list[str]:
        words = ["ovs-ofctl", "-O", "OpenFlow15", command, f"unix:{node.mgmt_socket(bridge)}", *arguments]
        done = subprocess.run(words, timeout=60, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


def samples() -> dict[str, Sample]:
    """Each field with a value, and those with a mask that can have one, by name."""
    ipv4 = Term(Field.ETH_TYPE, EthType.IPV4)
    ipv6 = Term(Field.ETH_TYPE, EthType.IPV6)
    arp = Term(Field.ETH_TYPE, EthType.ARP)
    known = Term(Field.CT_STATE, 0x22, 0x22)  # +est+trk: only then is there an original direction
    original = Term(Field.CT_NW_PROTO, IpProto.TCP)
    needs: dict[Field, tuple[Term, ...]] = {
        Field.CT_NW_PROTO: (ipv4, known),
        Field.CT_NW_DST: (ipv4, known),
        Field.CT_IPV6_DST: (ipv6, known),
        Field.CT_TP_DST: (ipv4, known, original),
        Field.IP_PROTO: (ipv4,),
        **dict.fromkeys((Field.IPV4_SRC, Field.IPV4_DST), (ipv4,)),
        **dict.fromkeys((Field.IPV6_SRC, Field.IPV6_DST), (ipv6,)),
        **dict.fromkeys((Field.TCP_SRC, Field.TCP_DST, Field.TCP_FLAGS), (ipv4, Term(Field.IP_PROTO, IpProto.TCP))),
        **dict.fromkeys((Field.UDP_SRC, Field.UDP_DST), (ipv6, Term(Field.IP_PROTO, IpProto.UDP))),
        **dict.fromkeys((Field.SCTP_SRC, Field.SCTP_DST), (ipv4, Term(Field.IP_PROTO, IpProto.SCTP))),
        **dict.fromkeys((Field.ICMP_TYPE, Field.ICMP_CODE), (ipv4, Term(Field.IP_PROTO, IpProto.ICMP))),
        **dict.fromkeys((Field.ICMPV6_TYPE, Field.ICMPV6_CODE), (ipv6, Term(Field.IP_PROTO, IpProto.ICMPV6))),
        **dict.fromkeys((Field.ARP_OP, Field.ARP_SPA, Field.ARP_TPA, Field.ARP_SHA, Field.ARP_THA), (arp,)),
        Field.ND_TARGET: (ipv6, Term(Field.IP_PROTO, IpProto.ICMPV6), Term(Field.ICMPV6_TYPE, 135)),
    }
    values = {
        Field.IN_PORT: 3,
        Field.ETH_TYPE: EthType.IPV6,
        Field.IP_PROTO: IpProto.SCTP,
        Field.CT_STATE: 0x21,
        Field.ARP_OP: 2,
    }
    whole = {
        *(Field.IN_PORT, Field.ETH_TYPE, Field.IP_PROTO, Field.ARP_OP, Field.CONJ_ID, Field.CT_ZONE),
        Field.CT_NW_PROTO,
        *(Field.ICMP_TYPE, Field.ICMP_CODE, Field.ICMPV6_TYPE, Field.ICMPV6_CODE),
    }
    found: dict[str, Sample] = {}
    for field in Field:
        name, before = field.spec.name, needs.get(field, ())
        pattern = int("5a" * 16, 16) & ((1 << field.spec.bits) - 1)
        found[name] = (*before, Term(field, values.get(field, pattern)))
        if field not in whole:
            mask = 0x3F if field is Field.CT_STATE else ((1 << field.spec.bits) - 1) ^ 0x0F
            found[f"{name} masked"] = (*before, Term(field, values.get(field, pattern) & mask, mask))
    # A whole ct_state has bits that no switch knows, so nobody matches all of them.
    del found["ct_state"]
    return found


SAMPLES = samples()


@pytest.fixture(params=SAMPLES, ids=lambda name: name.replace(" ", "-"))
def sample(request: pytest.FixtureRequest) -> Sample:
    return SAMPLES[request.param]
