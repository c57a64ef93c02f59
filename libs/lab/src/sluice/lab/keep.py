"""Labs that outlive the command that started them.

The command starts itself again as a process in a session of its own, and waits until that process reports that its work
is done. From then on that process owns the lab, until somebody ends it. So there is only one kind of lab and of owner.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from sluice.lab import inspection, state
from sluice.lab.lab import Lab
from sluice.lab.state import LabState, NodeState, PodState

T = TypeVar("T")

TELL = "SLUICE_LAB_TELL"
"""File descriptor to which the staying process writes its exit code once its work is done."""

REFRESH_S = 1.0
"""Interval at which the state shown by `sluice lab status` is written."""


def stays() -> bool:
    """Whether this is the staying process."""
    return TELL in os.environ


def detached(arguments: Sequence[str]) -> int:
    """Run `sluice` with these arguments in a process that stays; returns its exit code once its work is done."""
    told, tell = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", "from sluice.cli.main import main; main()", *arguments],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        pass_fds=[tell],
        env={**os.environ, TELL: str(tell)},
    )
    os.close(tell)
    with os.fdopen(told, "rb") as reader:
        try:
            said = reader.read(1)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)
            process.wait()
            raise
    if said:
        process.returncode = 0  # it stays and nobody waits for it; otherwise Popen warns that it is still running
        return said[0]
    return process.wait() or 1


async def stay(lab: Lab, code: int) -> None:
    """Report that the work is done, and keep the lab until this process is told to end."""
    log = (lab.folder / "lab.log").open("ab")
    state.write(portrait(lab))
    sys.stdout.flush()
    for stream in (1, 2):
        os.dup2(log.fileno(), stream)
    descriptor = int(os.environ.pop(TELL))
    os.write(descriptor, bytes([code]))
    os.close(descriptor)
    while True:
        await asyncio.sleep(REFRESH_S)
        state.write(portrait(lab))


def portrait(lab: Lab) -> LabState:
    """The current public state of this lab, which this process owns."""
    nodes = []
    for name, node in sorted(lab.nodes.items()):
        status, engine = lab.statuses.nodes.get(name), lab.statuses.engines.get(name)
        guard = lab.statuses.guards.get(name)
        problems = [problem.words() for each in (status, engine, guard) if each for problem in each.problems]
        if node.inspects and not (engine and engine.healthy):
            problems.append(f"inspection engine: {engine.detail if engine else 'it has not reported yet'}")
        nodes.append(
            NodeState(
                node=name,
                netns=node.netns.name,
                ovs=str(node.ovs.folder),
                healthy=status.healthy if status else False,
                applied=status.applied.sequence if status else 0,
                problems=tuple(problems),
                rule_sets=len(inspection.rule_sets(node.folder)) if node.inspects else None,
            )
        )
    pods = []
    for pod_name, sandbox in sorted(lab.sandboxes().items()):
        status = lab.statuses.nodes.get(sandbox.pod.node)
        pods.append(
            PodState(
                pod=pod_name,
                node=sandbox.pod.node,
                netns=sandbox.netns.name,
                addresses=sandbox.pod.addresses,
                ports=sandbox.pod.ports,
                open=bool(status and pod_name in status.ports),
                prober=str(sandbox.prober.socket),
            )
        )
    return LabState(
        name=lab.name,
        pid=os.getpid(),
        folder=str(lab.folder),
        nats_url=lab.nats.url,
        nats_keys=str(lab.keys.operator.folder) if lab.keys else "",
        manifests=str(lab.manifests),
        api_url=lab.api_url,
        nodes=tuple(nodes),
        pods=tuple(pods),
        restarts={name: each.restarts for name, each in sorted(lab.running.supervised.items()) if each.restarts},
    )


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run the work and return its result; SIGTERM and SIGHUP cancel it like Ctrl-C, so that a lab can be swept.

    Raises:
        KeyboardInterrupt: it was cancelled.
    """

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, task.cancel)
        return await work

    try:
        return asyncio.run(cancellable())
    except asyncio.CancelledError as error:
        raise KeyboardInterrupt from error
