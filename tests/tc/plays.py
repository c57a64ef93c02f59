"""What runs in a guest and lasts longer than a probe: connections, changes, restarts, and other people."""

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.tc.network import Probe
from tests.tc.scene import PODS, Cell, Scene, name, scene

from sluice.contracts.groups import Page
from sluice.contracts.ids import NEVER
from sluice.contracts.objects import AnyObject
from sluice.dataplane.tc.content import Options
from sluice.dataplane.tc.filter import Hook
from sluice.dataplane.tc.owner import ROOT_PREF
from sluice.drivers.tc import messages
from sluice.drivers.tc.hooks import Hooks
from sluice.testkit.tc_node import HERE

Policies = tuple[AnyObject, ...]


def across(before: Policies, after: Policies, cell: Cell, zones: bool) -> tuple[bool, bool, bool]:
    """Whether a connection that was opened before still carries data: after a change, and after its grace; and whether
    a new one comes about.
    """
    with scene(zones=zones) as found:
        found.program(*before)
        source, to, _, port, family = cell
        connection = found.network.open(name(source), PODS[to][family == 6], port)
        with contextlib.closing(connection):
            found.program(*after)
            lives = found.network.lives(connection)
            found.now_s += 60.0
            found.advance({})
            return lives, found.network.lives(connection), found.matrix([cell])[cell]


def leaves(policies: Policies, pod: str, cell: Cell, zones: bool) -> tuple[bool, bool, bool]:
    """Whether a connection carries data, before and after the Pod left every group, a change of addresses alone; and
    whether a new one comes about.
    """
    with scene(zones=zones) as found:
        found.program(*policies)
        source, to, _, port, family = cell
        engine, grouping = found.node.engine, found.node.grouping
        engine.drain()
        with contextlib.closing(found.network.open(name(source), PODS[to][family == 6], port)) as connection:
            before = found.network.lives(connection)
            for group in found.node.state.selectors:
                stay = tuple(one for one in grouping.members(group, HERE) if one.pod != pod)
                engine.put_page(Page(group=group, node=HERE, cause=NEVER, members=stay))
            changes = engine.drain()
            assert not any(change.whole for change in changes.values())
            found.advance(changes)
            return before, found.network.lives(connection), found.matrix([cell])[cell]


class Blinks(NamedTuple):
    asked: int
    lost: int
    """Of those that both programs allow."""

    leaked: int
    """Of those that both deny."""


def blink(one: Policies, other: Policies, allowed: Probe, denied: Probe, zones: bool) -> Blinks:
    """What becomes of packets while two programs take turns, of which both allow one and both deny the other."""
    with scene(zones=zones) as found:
        found.program(*one)
        results: list[tuple[bool, bool]] = []
        ends = threading.Event()

        def change() -> None:
            for turn in range(12):
                found.program(*(other, one)[turn % 2])
            ends.set()

        changer = threading.Thread(target=change)
        changer.start()
        while not ends.is_set():
            got = found.network.ask(allowed, denied)
            results.append((got[0], got[1]))
        changer.join()
    return Blinks(len(results), sum(not kept for kept, _ in results), sum(leaked for _, leaked in results))


class Restarted(NamedTuple):
    unchanged: bool
    """What stands is, to the handle, what stood before."""

    lives: bool
    repairs: int
    zones_kept: bool


def restart(policies: Policies, cell: Cell, zones: bool) -> Restarted:
    """The programmer ends and begins anew while a connection is open."""
    with scene(zones=zones) as found:
        found.program(*policies)
        source, to, _, port, family = cell
        with contextlib.closing(found.network.open(name(source), PODS[to][family == 6], port)) as connection:
            before = {pod: found.standings(pod) for pod in PODS}
            kept = Path("/run/node-tc/zones.json").read_bytes()
            found.upkeep.close()
            found.begin()
            found.program(*policies)
            after = {pod: found.standings(pod) for pod in PODS}
            return Restarted(
                before == after,
                found.network.lives(connection),
                found.upkeep.repairs,
                kept == Path("/run/node-tc/zones.json").read_bytes(),
            )


def sweep(policies: Policies, zones: bool) -> tuple[bool, bool]:
    """Whether anything of ours is left after a programmer began for which there are no policies; before, and after."""
    with scene(zones=zones) as found:
        found.program(*policies)
        held = any(any(found.standings(pod).values()) for pod in PODS)
        found.upkeep.close()
        found.begin()
        found.program()
        return held, any(any(found.standings(pod).values()) for pod in PODS)


class Foreign(NamedTuple):
    before: list[str]
    during: list[str]
    after: list[str]
    unpoliced: list[str]
    obeyed: bool
    """What the other's filter drops is dropped although policy allows it."""


def foreign(policies: Policies, zones: bool) -> Foreign:
    """Somebody else's filters at the same hook: while policies come, change and go."""
    with scene(zones=zones) as found, _foreign_filters(found) as look:
        before = look()
        found.program(*policies)
        during, obeyed = look(), not found.network.ask(Probe("b", PODS["x/a"][0], "TCP", 443))[0]
        found.program()
        after = look()
        found.upkeep.close()
        found.begin()
        found.program()
        return Foreign(before, during, after, look(), obeyed)


@contextlib.contextmanager
def _foreign_filters(found: Scene) -> Iterator["Look"]:
    dev = found.network.pods["a"].representor
    tc("qdisc", "replace", "dev", dev, "clsact")
    add = ("filter", "add", "dev", dev, "egress")
    tc(*add, "protocol", "ip", "pref", "5", "flower", "ip_proto", "tcp", "dst_port", "443", "action", "drop")
    tc(*add, "protocol", "ipv6", "pref", "6", "chain", "7", "flower", "action", "pass")
    try:
        yield Look(dev)
    finally:
        for pref, chain, protocol in (("5", "0", "ip"), ("6", "7", "ipv6")):
            tc("filter", "del", "dev", dev, "egress", "pref", pref, "chain", chain, "protocol", protocol)


class Look:
    def __init__(self, dev: str) -> None:
        self._dev = dev

    def __call__(self) -> list[str]:
        """The filters in chains that are nobody's of ours, without their counters."""
        shown = json.loads(tc("-json", "filter", "show", "dev", self._dev, "egress"))
        theirs = [one for one in shown if "options" in one and (one["pref"], one.get("chain", 0)) in ((5, 0), (6, 7))]
        return [f"{one['pref']} {one.get('chain', 0)} {sorted(one['options']['keys'].items())}" for one in theirs]


def tc(*words: str) -> str:
    return subprocess.run(["tc", *words], check=True, timeout=60, capture_output=True, text=True).stdout


class Drift(NamedTuple):
    open_meanwhile: bool
    closed_again: bool
    repairs: int
    strangers_left: int


def drift(policies: Policies, denied: Cell, zones: bool) -> Drift:
    """Somebody removes our root filter, and then puts a filter of theirs into a chain of ours."""
    with scene(zones=zones) as found:
        found.program(*policies)
        pod = found.network.pods["a"]
        repairs = found.upkeep.repairs
        tc("filter", "del", "dev", pod.representor, "egress", "pref", str(ROOT_PREF), "protocol", "all")
        meanwhile = found.matrix([denied])[denied]
        found.advance({})
        again = found.matrix([denied])[denied]
        chain = next(key.chain for key in found.standings("x/a")[Hook.EGRESS] if key.chain)
        where = ("dev", pod.representor, "egress", "chain", str(chain), "pref", "60000", "protocol", "ip")
        tc("filter", "add", *where, "matchall", "action", "pass")
        found.advance({})
        driver = Hooks()
        left = len(driver.read(messages.hook(pod.ifindex, Hook.EGRESS)).strangers)
        driver.close()
        return Drift(meanwhile, not again, found.upkeep.repairs - repairs, left)


def closed_hooks(policies: Policies, zones: bool) -> tuple[int, int]:
    """How many filters stand after somebody took the hooks away: at once, and when that was heard."""
    with scene(zones=zones) as found:
        found.program(*policies)
        tc("qdisc", "del", "dev", found.network.pods["a"].representor, "clsact")
        counts = [sum(len(one) for one in found.standings("x/a").values())]
        found.advance({})
        counts.append(sum(len(one) for one in found.standings("x/a").values()))
        return counts[0], counts[1]


def ping(policies: Policies, options: Options, zones: bool) -> dict[Cell, bool]:
    with scene(zones=zones) as found:
        found.program(*policies, options=options)
        return found.matrix([("x/b", "x/a", "ICMP", 0, family) for family in (4, 6)])


def rules(policies: Policies, zones: bool) -> tuple[dict[str, str], bool]:
    """The files for people, and whether each of their lines is a command's end that tc(8) takes."""
    with scene(zones=zones) as found:
        found.program(*policies)
        files = {file.name: file.read_text() for file in sorted(Path("/run/pod-rules").glob("*/*.rules"))}
        subprocess.run(["ip", "link", "add", "d0", "type", "dummy"], check=True, timeout=60)
        try:
            tc("qdisc", "add", "dev", "d0", "clsact")
            for text in files.values():
                lines = [line for line in text.splitlines() if line.startswith(("ingress ", "egress "))]
                batch = "".join(f"filter add dev d0 {line}\n" for line in lines)
                done = subprocess.run(
                    ["tc", "-b", "-"], input=batch, text=True, capture_output=True, timeout=60, check=False
                )
                assert done.returncode == 0, done.stderr
                assert lines
                for hook in Hook:
                    tc("filter", "del", "dev", "d0", str(hook))
                tc("qdisc", "replace", "dev", "d0", "clsact")
        finally:
            subprocess.run(["ip", "link", "del", "d0"], check=True, timeout=60)
        found.program()
        return files, not any(Path("/run/pod-rules").iterdir())
