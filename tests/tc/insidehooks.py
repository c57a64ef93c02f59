"""What runs in a guest to try the driver: a veth pair of its own, and tc(8) to compare with."""

import contextlib
import itertools
import json
import socket
import subprocess
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sluice.dataplane.tc.filter import Hook
from sluice.dataplane.tc.operations import AddFilter
from sluice.dataplane.tc.text import command
from sluice.drivers.tc import messages
from sluice.drivers.tc.errors import Refused
from sluice.drivers.tc.hooks import Hooks
from sluice.drivers.tc.netlink import HEAD, REQUEST
from sluice.testkit.tcfilters import SAMPLES

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
    for name in names:
        key, body = SAMPLES[name]
        with device() as dev, hooks() as driver:
            where = messages.hook(socket.if_nametoindex(dev), Hook.EGRESS)
            try:
                driver.apply(where, [AddFilter(key, 7, body)])
            except Refused as error:
                found[name] = str(error)
                continue
            reading = driver.read(where)
            if list(reading.standings.items()) != [(key, (body, 7))] or reading.strangers or reading.foreign:
                found[name] = f"read as {reading}"
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


def what_tc_shows(names: Iterable[str]) -> list[dict[str, Any]]:
    """The samples, added by us, as tc(8) shows them."""
    with device() as dev, hooks() as driver:
        where = messages.hook(socket.if_nametoindex(dev), Hook.EGRESS)
        for place, name in enumerate(names):
            key, body = SAMPLES[name]
            driver.apply(where, [AddFilter(key, 7 + place, body)])
        shown = json.loads(run("tc", "-json", "filter", "show", "dev", dev, "egress"))
    return [one for one in shown if "options" in one and "handle" in one["options"]]
