"""Packets that come without a checksum are told from others, and their ports are told, on a real pair of links."""

import asyncio
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2 import IPRoute

from sluice.drivers.checksums import Watch
from sluice.drivers.namespaces import inside
from sluice.drivers.ovsdb.rows import Interface, RowId
from sluice.drivers.veth import no_transmit_checksum_offload
from sluice.lab import netns
from sluice.services.node_ovs import checksums
from sluice.services.node_ovs.checksums import Checksums, watched

pytestmark = pytest.mark.datapath

HERE, THERE = "ckh", "ckt"
TARGETS = {socket.AF_INET: "10.99.0.2", socket.AF_INET6: "fd00:99::2"}
TIMEOUT_S = 60.0


@pytest.fixture
def space() -> Iterator[Path]:
    """A namespace with both ends of a pair of links, and neighbours that answer nothing."""
    made = netns.create("sums", f"ck{os.getpid()}")

    def configure() -> None:
        with IPRoute() as route:
            route.link("add", ifname=THERE, kind="veth", peer={"ifname": HERE})
            for name in (HERE, THERE):  # what is sent before the carrier of a link that is up comes on is lost
                route.link("set", index=socket.if_nametoindex(name), state="up")
            index = socket.if_nametoindex(THERE)
            for address, length, target in (("10.99.0.1", 24, "10.99.0.2"), ("fd00:99::1", 64, "fd00:99::2")):
                route.addr("add", index=index, address=address, prefixlen=length, flags=2)  # IFA_F_NODAD
                route.neigh("add", dst=target, lladdr="02:00:00:00:00:02", ifindex=index, state=0x80)  # for ever

    inside(made, configure)
    try:
        yield made
    finally:
        netns.remove(made)


def send(family: socket.AddressFamily, kind: int) -> None:
    with socket.socket(family, kind) as sock:
        sock.setblocking(False)
        if sock.connect_ex((TARGETS[family], 80)) == 0:
            sock.send(b"x")


async def seen(watch: Watch) -> bool | None:
    """What the next packet says."""
    async with asyncio.timeout(TIMEOUT_S):
        while (complete := watch.complete()) is None:  # noqa: ASYNC110  # a device has no events
            await asyncio.sleep(0.01)
    return complete


@pytest.mark.parametrize("family", TARGETS, ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM], ids=["TCP", "UDP"])
async def test_what_has_no_checksum_is_known(space: Path, family: socket.AddressFamily, kind: int):
    watch = inside(space, lambda: Watch(HERE))
    try:
        inside(space, lambda: send(family, kind))
        assert await seen(watch) is False

        inside(space, lambda: no_transmit_checksum_offload(THERE))
        while watch.complete() is not None:
            pass
        inside(space, lambda: send(family, kind))
        assert await seen(watch) is True
    finally:
        watch.close()


async def test_other_packets_tell_nothing_and_neither_does_what_goes_out(space: Path):
    watch = inside(space, lambda: Watch(THERE))  # what is sent there goes out by it
    try:
        inside(space, lambda: send(socket.AF_INET, socket.SOCK_DGRAM))
        await asyncio.sleep(0.1)
        assert watch.complete() is None
    finally:
        watch.close()


def row(name: str, *, type: str = "", ofport: int | None = 1, **external_ids: str) -> Interface:  # as OVSDB
    ids = {key.replace("_", "."): value for key, value in external_ids.items()}
    return Interface(RowId(name), name, ofport, ids, type, "up", "up", None, 1)


def test_ports_of_pods_and_of_the_node_are_watched():
    rows = [
        row(HERE, sluice_pod="x/a"),
        row("gw", type="system", sluice_role="gateway"),
        row("tap", type="internal", sluice_role="gateway"),
        row("gnv0", type="geneve", sluice_role="tunnel"),
        row("none", ofport=None, sluice_pod="x/b"),
        row("stranger"),
    ]

    assert watched(rows) == {HERE: "Pod x/a", "gw": "the node's gateway"}


@pytest.fixture
def run_dir(space: Path, tmp_path: Path) -> Iterator[Path]:
    """Where a process of the namespace says that it is the switch."""
    with subprocess.Popen(["ip", "netns", "exec", space.name, "sleep", "300"]) as inhabitant:
        try:
            until = time.monotonic() + TIMEOUT_S
            while Path(f"/proc/{inhabitant.pid}/ns/net").stat().st_ino != space.stat().st_ino:
                assert time.monotonic() < until
                time.sleep(0.01)
            (tmp_path / "ovs-vswitchd.pid").write_text(str(inhabitant.pid))
            yield tmp_path
        finally:
            inhabitant.kill()


async def test_a_port_without_checksums_is_told_until_it_has_them(
    space: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(checksums, "AGAIN_S", 0.05)
    told = asyncio.Event()
    watching = Checksums(run_dir, told.set)
    running = asyncio.create_task(watching.run())
    watching.ports_are({HERE: "Pod x/a", "nothing": "Pod x/b"})
    assert not watching.errors
    inside(space, lambda: send(socket.AF_INET, socket.SOCK_DGRAM))
    async with asyncio.timeout(TIMEOUT_S):
        await told.wait()
    (error,) = watching.errors
    assert error.startswith(f"interface {HERE}: Pod x/a: ")
    assert "ethtool -K eth0 tx off" in error

    inside(space, lambda: no_transmit_checksum_offload(THERE))
    told.clear()
    async with asyncio.timeout(TIMEOUT_S):
        while not told.is_set():
            inside(space, lambda: send(socket.AF_INET, socket.SOCK_DGRAM))
            await asyncio.sleep(0.05)
    assert not watching.errors
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def test_a_device_that_is_not_there_is_refused(space: Path):
    with pytest.raises(OSError, match="No such device"):
        inside(space, lambda: Watch("nothing"))
