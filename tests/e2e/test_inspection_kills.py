"""The inspection engine and whoever looks after it are given tenants and other rules, killed and stopped, under load.

No request that is denied is ever answered, whatever happens; those that are allowed are served again soon after.
"""

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from tests.l7.load import Load

from sluice.lab.lab import Lab
from sluice.testkit.manifests import read

pytestmark = [pytest.mark.datapath, pytest.mark.once, pytest.mark.slow]

ROUNDS = int(os.environ.get("SLUICE_KILL_ROUNDS", "1"))
TENANTS = int(os.environ.get("SLUICE_L7_TENANTS", "25"))
"""Rule sets that come one after the other; each takes the engine most of a second."""

RECOVERY_S = 60.0
"""What a machine under load may take; measured figures are in docs/performance.md."""

PATIENCE_S = 120.0
"""For all of a change to be in force there."""

SERVER, SERVER6 = "10.10.7.1", "fd00:10:7::1"
PODS = "".join(
    f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: x, labels: {{app: {name}}}}}\n"
    f"spec: {{containers: [{{name: c, image: any, ports: [{{containerPort: 80}}]}}]}}\n"
    f"status: {{podIP: 10.10.7.{number}, podIPs: [{{ip: 10.10.7.{number}}}, {{ip: 'fd00:10:7::{number}'}}]}}\n---\n"
    for number, name in enumerate(("server", "client", "bystander"), start=1)
)


def policy(paths: list[str], *, name: str = "in", applied_to: str = "server", direction: str = "ingress") -> str:
    entries = ", ".join(f"{{http: {{path: '{path}'}}}}" for path in paths)
    applied = f"[{{podSelector: {{matchLabels: {{app: {applied_to}}}}}}}]"
    rule = f"{{name: web, action: Allow, l7Protocols: [{entries}]}}"
    return (
        f"apiVersion: crd.antrea.io/v1beta1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: x}}\n"
        f"spec: {{priority: 5, tier: application, appliedTo: {applied}, {direction}: [{rule}]}}\n---\n"
    )


OUT = policy(["/public/*", "/admin"], name="out", applied_to="client", direction="egress")


def engine_pid(folder: Path) -> int:
    (found,) = (
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and is_engine(entry / "cmdline", folder)
    )
    return found


def is_engine(words: Path, folder: Path) -> bool:
    try:
        return os.fsencode(f"{folder}/l7/suricata.yaml") in words.read_bytes().split(b"\0")
    except OSError:
        return False


async def one_after_the_other(lab: Lab, load: Load) -> str:
    """Rule sets come, each once the one before it is in force; how long they took, and the load's longest wait."""
    took, load.longest_s = [], 0.0
    for number in range(TENANTS):
        began = time.monotonic()
        await lab.change(apply=read(policy([f"/{number}"], name=f"t{number}", applied_to="bystander")))
        await lab.realised(PATIENCE_S)
        took.append(time.monotonic() - began)
    middle = sorted(took)[len(took) // 2]
    return (
        f"{TENANTS} tenants: in force after {middle:.2f} s, the first {took[0]:.2f}, the last {took[-1]:.2f}, "
        f"at most {max(took):.2f}; nobody served for {load.longest_s:.2f} s at most"
    )


@pytest.mark.timeout(120 + 60 * ROUNDS + 5 * TENANTS)
async def test_nothing_denied_is_answered_whoever_is_dead():
    told = []
    async with await Lab.start() as lab:
        await lab.change(apply=read(PODS))
        await lab.change(apply=read(policy(["/public/*"]), OUT))
        await lab.realised(PATIENCE_S)
        (node,) = lab.nodes.values()
        load = Load(lab.sandboxes()["x/client"].netns, (SERVER, SERVER6))
        with load.running():
            await asyncio.to_thread(load.recovered, time.monotonic(), RECOVERY_S)
            told.append(await one_after_the_other(lab, load))
            for number in range(ROUNDS):
                for what in (
                    "kill the engine",
                    "stop the engine",
                    "kill node-l7",
                    "kill node-ovs",
                    "kill the switch",
                    "other rules",
                ):
                    match what:
                        case "kill the engine":
                            os.kill(engine_pid(node.folder), signal.SIGKILL)
                        case "stop the engine":
                            os.kill(engine_pid(node.folder), signal.SIGSTOP)
                        case "kill node-l7":
                            node.inspector.kill()
                        case "kill node-ovs":
                            node.programmer.kill()
                        case "kill the switch":
                            await node.ovs.kill_vswitchd()
                        case _:
                            paths = ["/public/*", f"/other/{number}"]
                            await lab.change(apply=read(policy(paths)))
                    told.append(f"{what} at {time.monotonic():.3f}")
                    since = time.monotonic() + 0.1  # what is answered before that may have been under way
                    took = await asyncio.to_thread(load.recovered, since, RECOVERY_S)
                    told.append(f"{what}: served again after {took:.1f} s")
                    await lab.realised(PATIENCE_S)
                    await asyncio.sleep(0.5)
        sys.stdout.write(f"{told} {load.counts}\n")

    assert load.leaks == []
    assert min(load.counts[kind] for kind in ("served", "denied", "denied later")) > 20
