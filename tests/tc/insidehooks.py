"""What runs in a guest to try the driver: a veth pair of its own, and tc(8) to compare with."""

import contextlib
import itertools
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from sluice.dataplane.addresses import Block
from sluice.dataplane.protocols import EthType
from sluice.dataplane.tc.filter import Accept, Drop, FilterBody, FilterKey, Flower, Goto, Hook, Standings
from sluice.dataplane.tc.operations import AddFilter, DeleteChain, DeleteFilter, Operation, ReplaceFilter, Settle
from sluice.dataplane.tc.owner import ROOT_PREF, CookieKind, Place, chain, pack, place_of
from sluice.dataplane.tc.text import command
from sluice.drivers.tc import messages
from sluice.drivers.tc.actions import Count
from sluice.drivers.tc.capabilities import Capabilities, probe
from sluice.drivers.tc.errors import Refused
from sluice.drivers.tc.events import Events, FiltersChanged, LinksChanged, Missed
from sluice.drivers.tc.hooks import Hooks, Placed, Placement
from sluice.drivers.tc.messages import Stranger, Where
from sluice.drivers.tc.netlink import HEAD, REQUEST
from sluice.testkit.tcfilters import ROOT, SAMPLES

NUMBERS = itertools.count(1)


def run(*words: str, given: str = "") -> str:
    return subprocess.run(words, check=True, timeout=120, capture_output=True, text=True, input=given).stdout


@contextlib.contextmanager
def device(*, opened: bool = True) -> Iterator[str]:
    """A veth pair that is there for so long, with hooks."""
    name = f"v{next(NUMBERS)}"
    run("ip", "link", "add", name, "up", "type", "veth", "peer", "name", f"{name}p")
    try:
        if opened:
            with hooks() as driver:
                driver.open(socket.if_nametoindex(name))
        yield name
    finally:
        run("ip", "link", "del", name)


def at(where: Where, operations: Iterable[Operation]) -> list[Placed]:
    return [Placed(where, operation) for operation in operations]


@contextlib.contextmanager
def hooks() -> Iterator[Hooks]:
    driver = Hooks()
    try:
        yield driver
    finally:
        driver.close()


def there_and_back(names: Iterable[str]) -> dict[str, str]:
    """Add each sample and read it: what the kernel says of those it refuses, and what is not read as it was added."""
    found: dict[str, str] = {}
    with device() as dev, hooks() as driver:
        where = messages.hook(socket.if_nametoindex(dev), Hook.EGRESS)
        for name in names:
            key, body = SAMPLES[name]
            try:
                driver.apply(at(where, [AddFilter(key, 7, body)]))
            except Refused as error:
                found[name] = str(error)
                continue
            reading = driver.read(where)
            if list(reading.standings.items()) != [(key, (body, 7))] or reading.strangers or reading.foreign:
                found[name] = f"read as {reading}"
            driver.apply(at(where, [DeleteFilter(key, 7)]))
    return found


def what_tc_sends(names: Iterable[str]) -> dict[str, tuple[bytes, bytes]]:
    """Each sample as tc(8) sends it when it is given our command, and as we send it."""
    found = {}
    with device() as dev, _watched() as requests:
        where = messages.hook(socket.if_nametoindex(dev), Hook.INGRESS)
        for name in names:
            key, body = SAMPLES[name]
            line = command(dev, Hook.INGRESS, AddFilter(key, 7, body))
            requests()
            done = subprocess.run(line.split(), timeout=60, capture_output=True, check=False, text=True)
            theirs = [body for kind, body in requests() if kind == messages.NEW_FILTER]  # the kernel may refuse it
            assert theirs, f"{line}: {done.stderr}"
            ours = messages.add_filter(where, key, 7, body, messages.Offload.SKIP_HW)
            found[name] = theirs[0], ours.body
    return found


@contextlib.contextmanager
def _watched() -> Iterator[Callable[[], list[tuple[int, bytes]]]]:
    """A function that tells the requests to rtnetlink since it was called last, whoever made them."""
    name = f"nl{next(NUMBERS)}"
    run("ip", "link", "add", name, "up", "type", "nlmon")
    tap = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    tap.bind((name, 3))
    tap.setblocking(False)

    def requests() -> list[tuple[int, bytes]]:
        found = []
        with contextlib.suppress(BlockingIOError):  # what was sent is there
            while True:
                packet = tap.recv(1 << 16)
                _, kind, flags, _, _ = HEAD.unpack_from(packet)
                if flags & REQUEST:
                    found.append((kind, packet[HEAD.size :]))
        return found

    try:
        yield requests
    finally:
        tap.close()
        run("ip", "link", "del", name)


def generation(count: int) -> list[Operation]:
    """A generation with so many addresses, and the root that leads to it."""
    classes = chain(0, Place.CLASSES)
    body = FilterBody((Goto(chain(0, Place.PORTS)),), pack(CookieKind.ADDRESS))
    addresses = [Block(4, (10 << 24) + number, 32) for number in range(count)]
    filters: list[Operation] = [
        AddFilter(FilterKey(classes, 100, EthType.IPV4, Flower(source=address)), number, body)
        for number, address in enumerate(addresses, start=1)
    ]
    root = FilterBody((Goto(classes),), pack(CookieKind.ROOT))
    return [*filters, AddFilter(ROOT, 1, root)]


def capabilities() -> Capabilities:
    return probe(os.uname().release)


def open_twice() -> tuple[bool, bool, bool]:
    """Whether the interface has hooks: before, and after each of two openings."""
    with device(opened=False) as dev, hooks() as driver:
        index = socket.if_nametoindex(dev)
        found = [index in driver.opened()]
        for _ in range(2):
            driver.open(index)
            found.append(index in driver.opened())
    return found[0], found[1], found[2]


def make_twice() -> tuple[Standings, Standings]:
    """What stands after a plan, and after it was made once more; then all of it is deleted, twice."""
    plan = generation(600)
    with device() as dev, hooks() as driver:
        where = messages.hook(socket.if_nametoindex(dev), Hook.EGRESS)
        found = []
        for _ in range(2):
            driver.apply(at(where, plan))
            found.append(driver.read(where).standings)
        for _ in range(2):
            driver.apply(at(where, [DeleteFilter(ROOT, 1), DeleteChain(chain(0, Place.CLASSES))]))
            assert driver.read(where).standings == {}
            assert driver.read(messages.hook(where.ifindex, Hook.INGRESS)).standings == {}
    return found[0], found[1]


def swap() -> list[set[int]]:
    """The places of chains with filters: of one generation, while the next is built, and after."""
    old, new = chain(0, 1), chain(1, 2)
    rest = FilterBody((Drop(),), pack(CookieKind.REST))
    with device() as dev, hooks() as driver:
        where = messages.hook(socket.if_nametoindex(dev), Hook.EGRESS)

        def places() -> set[int]:
            return {key.chain and place_of(key.chain) for key in driver.read(where).standings}

        found = []
        driver.apply(at(where, [AddFilter(FilterKey(old, 1, EthType.ALL), 1, rest), AddFilter(ROOT, 1, _root(old))]))
        found.append(places())
        driver.apply(at(where, [AddFilter(FilterKey(new, 1, EthType.ALL), 1, rest)]))
        found.append(places())
        done = driver.apply(at(where, [ReplaceFilter(ROOT, 1, _root(new)), Settle(), DeleteChain(old)]))
        assert done.messages == 2
        assert driver.read(where).standings[ROOT].body == _root(new)
        found.append(places())
    return found


def _root(target: int) -> FilterBody:
    return FilterBody((Goto(target),), pack(CookieKind.ROOT, target))


def refuse() -> tuple[str, set[int]]:
    """What is said of a plan whose first filter the kernel refuses, and in which chains filters stand then."""
    where_to = chain(0, 1)
    body = FilterBody((Goto(chain(0, 1) + (1 << 28)),), pack(CookieKind.ADDRESS))  # no chain has 29 bits
    fine = FilterBody((Drop(),), pack(CookieKind.REST))
    plan = [
        AddFilter(FilterKey(where_to, 100, EthType.IPV4, Flower(ip_proto=6)), 0xFFFF_FFFF, body),
        AddFilter(FilterKey(where_to, 200, EthType.ALL), 1, fine),
        AddFilter(ROOT, 1, _root(where_to)),
    ]
    with device() as dev, hooks() as driver:
        where = messages.hook(socket.if_nametoindex(dev), Hook.EGRESS)
        try:
            driver.apply(at(where, plan))
        except Refused as error:
            return str(error), {key.chain for key in driver.read(where).standings}
    return "nothing", set()


def gone() -> list[str]:
    """What is raised about an interface that is not there: opening it, changing it, reading it."""
    found = []
    with hooks() as driver:
        where = messages.hook(4711, Hook.EGRESS)
        for action in (
            lambda: driver.open(4711),
            lambda: driver.apply(at(where, [AddFilter(ROOT, 1, _root(1))])),
            lambda: driver.read(where),
        ):
            try:
                action()
            except Refused as error:
                found.append(type(error).__name__)
            else:
                found.append("nothing")
    return found


class Strangers(NamedTuple):
    foreign: int
    strangers: list[Stranger]
    reasons: str
    left: list[str]


def strangers() -> Strangers:
    """Two filters of others stand in chain 0, two in a chain of ours, one of ours beside them."""
    ours = chain(0, 1)
    with device() as dev, hooks() as driver:
        where = messages.hook(socket.if_nametoindex(dev), Hook.EGRESS)
        add = ("tc", "filter", "add", "dev", dev, "egress")
        run(*add, "protocol", "ip", "pref", "7", "flower", "ip_proto", "udp", "action", "pass")
        run(*add, "protocol", "all", "pref", "8", "matchall", "action", "pass")
        run(*add, "protocol", "all", "pref", "9", "chain", str(ours), "matchall", "action", "pass")
        run(*add, "protocol", "ip", "pref", "10", "chain", str(ours), "flower", "ip_flags", "frag", "action", "pass")
        rest = FilterBody((Drop(),), pack(CookieKind.REST))
        driver.apply(at(where, [AddFilter(FilterKey(ours, 1, EthType.ALL), 1, rest)]))
        reading = driver.read(where)
        driver.remove(where, reading.strangers)
        driver.remove(where, reading.strangers)
        after = driver.read(where)
        assert list(after.standings) == [FilterKey(ours, 1, EthType.ALL)]
        assert after.strangers == ()
        driver.apply(at(where, [DeleteChain(ours)]))
        left = json.loads(run("tc", "-json", "filter", "show", "dev", dev, "egress"))
    kinds = sorted({one["kind"] for one in left})
    return Strangers(reading.foreign, list(reading.strangers), str([one.reason for one in reading.strangers]), kinds)


def counted() -> dict[int, Count]:
    """Three frames of 42 bytes pass a filter with reference 1, none one with reference 2."""
    plan = [
        AddFilter(FilterKey(0, ROOT_PREF, EthType.ALL), 1, FilterBody((Accept(),), pack(CookieKind.PORT, 1))),
        AddFilter(FilterKey(chain(0, 3), 1, EthType.ALL), 1, FilterBody((Accept(),), pack(CookieKind.PORT, 2))),
    ]
    with device() as dev, hooks() as driver:
        run("ip", "link", "set", f"{dev}p", "up", "arp", "off")
        where = messages.hook(socket.if_nametoindex(dev), Hook.EGRESS)
        driver.apply(at(where, plan))
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind((dev, 0x88B5))
            for _ in range(3):
                sender.send(bytes(12) + b"\x88\xb5" + bytes(28))
        return driver.count(where)


def without_hardware() -> tuple[Placement, str, dict[str, set[str]]]:
    """A hook is to be in hardware, and has none: where it is, why, and which flags tc(8) shows."""
    with device() as dev, hooks() as driver:
        where = messages.hook(socket.if_nametoindex(dev), Hook.INGRESS)
        done = driver.apply(at(where, generation(3)), hardware=True)
        assert driver.read(where).placement is done.placement
        shown = json.loads(run("tc", "-json", "filter", "show", "dev", dev, "ingress"))
    flags: dict[str, set[str]] = {"root": set(), "others": set()}
    for one in shown:
        options = one.get("options", {})
        whose = "others" if one.get("chain") else "root"
        flags[whose] |= {flag for flag in ("skip_hw", "skip_sw", "in_hw", "not_in_hw") if options.get(flag)}
    return done.placement, done.not_in_hardware, flags


def share_block() -> tuple[int, int]:
    """How many filters two interfaces have that share the block in which one stands."""
    with device(opened=False) as one, device(opened=False) as two, hooks() as driver:
        for dev in (one, two):
            driver.open(socket.if_nametoindex(dev), egress_block=22)
        driver.apply(at(messages.block(22), [AddFilter(ROOT, 1, _root(1))]))
        shown = [json.loads(run("tc", "-json", "filter", "show", "dev", dev, "egress")) for dev in (one, two)]
    return len([1 for line in shown[0] if "options" in line]), len([1 for line in shown[1] if "options" in line])


def heard() -> list[set[str]]:
    """What is heard: of our own change, of others' filter, of a flush, of an interface, and of one that goes."""
    found = []
    with device() as dev, hooks() as driver:
        events = Events(driver.port)
        index = socket.if_nametoindex(dev)

        def hear() -> None:
            told = events.pending()
            assert Missed() not in told
            mine = {type(event).__name__ for event in told if event in (LinksChanged(index), FiltersChanged(index))}
            found.append(mine)  # not of its peer

        driver.apply(at(messages.hook(index, Hook.EGRESS), generation(3)))
        hear()
        run("tc", "filter", "add", "dev", dev, "egress", "pref", "7", "protocol", "ip", "flower", "action", "pass")
        hear()
        run("tc", "filter", "del", "dev", dev, "egress", "chain", str(chain(0, Place.CLASSES)))
        hear()
        run("ip", "link", "set", dev, "down")
        hear()
        run("tc", "qdisc", "del", "dev", dev, "clsact")
        hear()
        events.close()
    return found


def empty_chains() -> list[bool]:
    """Whether a frame passes: without filters, to a chain that never was, to one that drops, to that when flushed."""
    never, flushed = chain(0, 5), chain(0, 6)
    tag = b"\x88\xb5"
    found = []
    with device() as dev, hooks() as driver, socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        run("ip", "link", "set", f"{dev}p", "up")
        where = messages.hook(socket.if_nametoindex(dev), Hook.EGRESS)
        sender.bind((dev, 0))
        heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x88B5))
        heard.bind((f"{dev}p", 0x88B5))
        heard.settimeout(0.3)

        def passes() -> bool:
            try:
                sender.send(b"\xff" * 12 + tag + bytes(46))
                return bool(heard.recv(100))
            except OSError:  # dropped where it was sent (ENOBUFS), or nothing came
                return False

        drop = AddFilter(FilterKey(flushed, 1, EthType.ALL), 1, FilterBody((Drop(),), pack(CookieKind.REST)))
        found.append(passes())
        plans: tuple[list[Operation], ...] = (
            [AddFilter(ROOT, 1, _root(never))],
            [drop, ReplaceFilter(ROOT, 1, _root(flushed))],
            [DeleteChain(flushed)],
        )
        for operations in plans:
            driver.apply(at(where, operations))
            found.append(passes())
        heard.close()
    return found
