"""P9 and P16: from a program to flows in a real switch.

P9: one Kubernetes policy with 5,000, 10,000 and 15,000 distinct /32 peers, from the program to the answer of the
commit. P16: a programmer that restarts with 10,000 flows in force: everything is lowered from scratch, read back and
compared; and a switch that restarts: everything is sent anew.
"""

import asyncio
import gc
import os
import subprocess
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

from tests.bench.figures import Figure, Took, Watch, show

from sluice.contracts import subjects
from sluice.contracts.groups import Member, Page
from sluice.contracts.ids import NEVER, Address, GroupId, NodeName, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import K8S_TIER, Action, BlockPeer, Direction, Origin, Program, Rule
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.plan import plan
from sluice.dataplane.ovs.ports import LocalPort
from sluice.drivers.openflow.switch import Switch
from sluice.lab.ovs import OvsNode

SEED = 0xA1E47
SIZES = {5_000: 0.3, 10_000: 0.4, 15_000: 0.5}
"""Peers, and the seconds to stay under."""

FLOOR_S = {5_000: 0.06, 10_000: 0.09, 15_000: 0.15}
"""What `ovs-ofctl --bundle` alone takes for as many flows that are there already as text."""

REPLAYED = 10_000
REPLAY_S = 1.0
REPEATS = 3
HERE, WEB = NodeName("here"), GroupId("web")


def begin() -> Engine:
    """A node with two Pods, of one group."""
    engine = Engine(HERE, RuleIds())
    addresses = [Address(f"172.16.0.{number}") for number in (1, 2)]
    pods = tuple(Member(pod=f"x/{one}", uid=Uid(one), addresses=(one,)) for one in addresses)
    engine.put_page(Page(group=WEB, node=HERE, cause=NEVER, members=pods))
    for number, pod in enumerate(pods, start=1):
        engine.open_port(LocalPort(pod.pod, pod.uid, number, f"02:00:00:00:00:0{number}", pod.addresses))
    return engine


def program(peers: int) -> Program:
    numbers = Random(SEED).sample(range(0x0A000000, 0x0B000000), peers)
    blocks = tuple(BlockPeer(cidr=f"{n >> 24}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}/32") for n in numbers)
    unit = subjects.unit(Kind.K8S_NETWORK_POLICY, "x", "np")
    return Program(
        unit=unit,
        applied_to=WEB,
        cause=NEVER,
        origin=Origin(kind=Kind.K8S_NETWORK_POLICY, namespace="x", name="np", uid=Uid("np")),
        tier=K8S_TIER,
        priority=0,
        rules=(Rule(index=0, direction=Direction.INGRESS, action=Action.ALLOW, peers=blocks),),
        isolates=(Direction.INGRESS,),
    )


async def realise(switch: Switch, peers: int) -> Took:
    """Seconds from the program to its flows in the switch, which are gone afterwards."""
    engine, wanted = begin(), program(peers)
    put, _ = engine.drain()
    await switch.apply(put)
    gc.collect()
    watch = Watch()
    engine.put_program(wanted)
    put, delete = engine.drain()
    await switch.apply(put, delete)
    took = watch.read()
    assert await switch.dump() == engine.flows, "the switch has other flows than we sent"
    await switch.apply({}, engine.flows.keys())
    return took


async def restart(switch: Switch) -> tuple[Took, Took]:
    """Seconds until a new programmer knows that all is as it should be; and until an empty switch has everything."""
    wanted = program(REPLAYED)
    before = begin()
    before.put_program(wanted)
    await switch.apply(before.flows)
    gc.collect()
    watch = Watch()
    engine = begin()
    engine.put_program(wanted)
    assert plan(engine.flows, await switch.dump()).empty
    programmer = watch.read()
    await switch.apply({}, engine.flows.keys())
    watch = Watch()
    change = plan(engine.flows, await switch.dump())
    await switch.apply(change.put, change.delete)
    everything = watch.read()
    await switch.apply({}, engine.flows.keys())
    return programmer, everything


async def with_switch(do: Callable[[Switch], Coroutine[Any, Any, None]], netns: str, folder: Path) -> None:
    node = await OvsNode.start(netns, folder / "ovs")
    try:
        await node.ensure_bridge()
        switch = await Switch.connect(node.mgmt_socket())
        await do(switch)
        switch.close()
    finally:
        await node.stop()


def show_best(name: str, what: str, times: list[Took], target_s: float, floor_s: float | None = None) -> None:
    best = min(times)
    detail = f"best of {', '.join(f'{one.seconds:.3f}' for one in times)} s"
    show(Figure(name, what, best.seconds, "s", floor_s, target_s, best.cpu_s), detail)


async def p9(switch: Switch) -> None:
    for peers, target_s in SIZES.items():
        times = [await realise(switch, peers) for _ in range(REPEATS)]
        what = f"a policy of {peers:,} distinct peers, program to flows in the switch"
        show_best("P9", what, times, target_s, FLOOR_S[peers])


async def p16(switch: Switch) -> None:
    times = [await restart(switch) for _ in range(REPEATS)]
    for place, what in enumerate(
        ("programmer restarts: lowered, read back, nothing to do", "switch restarts: sent anew")
    ):
        show_best("P16", f"{REPLAYED:,} flows, {what}", [one[place] for one in times], REPLAY_S)


def main(name: str) -> None:
    netns = f"bench-{name.lower()}-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", netns], check=True, timeout=10)
    try:
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(with_switch({"P9": p9, "P16": p16}[name], netns, Path(folder)))
    finally:
        subprocess.run(["ip", "netns", "del", netns], check=True, timeout=10)


if __name__ == "__main__":
    import sys

    for wanted in sys.argv[1:] or ["P9", "P16"]:
        main(wanted)
