"""Our table in a real kernel: what is written is what is read, in one transaction, and what others do is heard."""

import asyncio
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sluice.dataplane.host import text, wire, words
from sluice.dataplane.host.plan import plan
from sluice.dataplane.host.table import Accept, Chain, Line, Table
from sluice.drivers.namespaces import inside
from sluice.drivers.nftables.copies import Copies, Copy, NotHeard
from sluice.drivers.nftables.events import Events
from sluice.drivers.nftables.tables import NoNft, Refused, Tables
from sluice.testkit import host_rules
from sluice.testkit.host_node import HostNode

pytestmark = pytest.mark.datapath

EVENTS = host_rules.events()


def nft(netns: Path, *words: str, given: str | None = None) -> str:
    done = subprocess.run(
        ["ip", "netns", "exec", netns.name, "nft", *words], input=given, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def netns() -> Iterator[Path]:
    name = f"sluice-nft-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
    yield Path("/run/netns", name)
    subprocess.run(["ip", "netns", "del", name], check=True)


def tables_of(upto: int) -> Table:
    return HostNode(EVENTS[:upto]).engine.table()


def test_each_change_is_read_back_as_it_was_written_and_leaves_other_tables_alone(netns: Path) -> None:
    tables = Tables(netns)
    nft(netns, "add table inet others; add chain inet others x")
    assert tables.read() == wire.NOT_THERE

    for number in range(2, len(EVENTS) + 1):
        desired, before = wire.encoded(tables_of(number)), tables.read()
        tables.apply(plan(desired, before))

        assert tables.read() == desired, EVENTS[number - 1].key
    assert tables.remove()
    assert not tables.remove()
    assert nft(netns, "list", "tables").split() == ["table", "inet", "others"]


@pytest.mark.parametrize("upto", [6, 10])
def test_what_people_read_is_what_the_kernel_holds(netns: Path, upto: int) -> None:
    table = tables_of(upto)

    nft(netns, "-f", "-", given=text.write(table))

    assert Tables(netns).read() == wire.encoded(table)


def test_a_transaction_that_is_refused_changes_nothing(netns: Path) -> None:
    tables = Tables(netns)
    tables.apply(plan(wire.encoded(tables_of(5)), wire.NOT_THERE))
    before = tables.read()

    with pytest.raises(Refused, match="No such file"):
        tables.apply([{"flush": wire.chain("input", None)}, {"delete": wire.named("chain", "nobody")}])

    assert tables.read() == before


STRANGE = ["add map inet sluice m { type ipv4_addr : verdict; }", "add rule inet sluice input counter",
           "add chain inet sluice x", "flush chain inet sluice input.rules", "delete table inet sluice"]  # fmt: skip


@pytest.mark.parametrize("change", STRANGE)
async def test_changes_of_others_are_heard_and_put_right_and_ours_are_not(netns: Path, change: str) -> None:
    tables = Tables(netns)
    events = Events(netns, tables.ours)
    desired = wire.encoded(tables_of(5))
    try:
        tables.apply(plan(desired, tables.read()))
        nft(netns, "add table inet others")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await events.changed()
        nft(netns, change)
        async with asyncio.timeout(10):
            await events.changed()
    finally:
        events.close()
    actual = tables.read()

    assert actual != desired
    tables.apply(plan(desired, actual))
    assert tables.read() == desired


def send() -> None:
    """Two packets, to a port where somebody listens."""
    with socket.socket(type=socket.SOCK_DGRAM) as there, socket.socket(type=socket.SOCK_DGRAM) as here:
        there.bind(("127.0.0.1", 0))
        for said in (b"hello", b"you"):
            here.sendto(said, there.getsockname())


async def test_what_is_to_be_logged_is_handed_over_and_counted(netns: Path) -> None:
    tables = Tables(netns)
    lines = (Line((), None, "", log="r1"), Line((), Accept(), "", counter="r1"))
    tables.apply(plan(wire.encoded(Table({"output": Chain(lines, "output")}, {}, frozenset(("r1",)), 500)),
                      wire.NOT_THERE))  # fmt: skip
    assert tables.counts() == {"r1": (0, 0)}
    copies = Copies(netns, words.LOG_GROUP, words.LOG_BYTES)
    try:
        inside(netns, send)
        found: list[Copy] = []
        async with asyncio.timeout(60):
            while len(found) < 2:
                found += await copies.next()
        with pytest.raises(NotHeard, match="group 5300"):
            Copies(netns, words.LOG_GROUP, words.LOG_BYTES)
    finally:
        copies.close()

    assert [(one.prefix, one.packet[9], one.packet[28:]) for one in found] == [("r1", 17, b"hello"), ("r1", 17, b"you")]
    assert tables.counts()["r1"][0] == 2


def test_without_nft_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")

    with pytest.raises(NoNft, match="install the package nftables"):
        Tables().read()
