"""NATS and every central service are away, for long; nodes go on.

Real packets all the while: what was denied is denied, what was allowed is allowed, also over a restart of node-ovs. A
Pod that comes meanwhile is closed, and node-ovs says so and why, whether it knew the bus before or not. Then all of it
comes back, and so does the Pod.

`SLUICE_OUTAGE_S=600 ./task test tests/e2e/test_outage.py` is ten minutes of it.
"""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from http.client import HTTPConnection

import pytest

from sluice.contracts.ids import NodeName
from sluice.kube.manifest import Document, parse
from sluice.lab.checks import Question
from sluice.lab.lab import CENTRAL, Lab
from sluice.lab.trains import ask_again

pytestmark = [pytest.mark.datapath, pytest.mark.slow]

OUTAGE_S = float(os.environ.get("SLUICE_OUTAGE_S", "8"))
"""From when the programmer is back to when the bus is."""

PODS = {name: f"10.10.7.{number}" for number, name in enumerate(("a", "b", "server", "late"), start=1)}
PAIRS = {("a", "server"): "Allowed", ("b", "server"): "Dropped", ("server", "a"): "Allowed"}
NODE = NodeName("node-1")
PREFIX = "SLUICE_NODE_OVS_"


def read(text: str) -> list[Document]:
    found = parse(text, "outage.yaml")
    documents = [one for one in found if isinstance(one, Document)]
    assert len(documents) == len(found), found
    return documents


def pod(name: str) -> str:
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: o, labels: {{app: {name}}}}}\n"
        f"spec: {{containers: [{{name: main, image: any, ports: [{{containerPort: 80}}]}}]}}\n"
        f"status: {{podIPs: [{{ip: {PODS[name]}}}]}}\n"
    )


POLICY = (
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: server, namespace: o}\n"
    "spec: {podSelector: {matchLabels: {app: server}}, ingress: [{from: [{podSelector: {matchLabels: {app: a}}}]}]}\n"
)
NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: o}\n"


def question(source: str, target: str, expect: str = "Allowed") -> Question:
    return Question(
        kind="probe",
        from_=f"o/{source}",
        to=f"o/{target}",
        what="TCP 80",
        expect=expect,  # type: ignore[arg-type]  # of PAIRS
        protocol="TCP",
        source=PODS[source],  # type: ignore[arg-type]  # an Address is text
        address=PODS[target],  # type: ignore[arg-type]  # the same
        port=80,
    )


async def enforced(lab: Lab) -> dict[tuple[str, str], str]:
    """What becomes of a packet between each pair, now."""
    results = await lab.ask([question(*pair) for pair in PAIRS])
    return dict(zip(PAIRS, (one.result for one in results), strict=True))


async def stop_the_centre(lab: Lab) -> None:
    """As by kill -9 of all of it, and nobody starts it again."""
    names = {*CENTRAL, "nats-server"}
    for task in [task for task in lab._tasks if task.get_name() in names]:
        task.cancel()
    for name in CENTRAL:
        lab.programs[name].kill()
        await lab.programs[name].ended()
    await lab.nats.kill()


def start_the_centre(lab: Lab) -> None:
    for name in ("nats-server", *CENTRAL):
        lab._spawn(lab.supervised[name].run(), name)


async def readiness(port: int, wanted: Callable[[str], bool]) -> str:
    """What /readyz says, once it is as wanted."""

    def get() -> str:
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().read().decode()
        except OSError as error:
            return f"{error}"
        finally:
            connection.close()

    said = ""
    try:
        async with asyncio.timeout(60):
            while not wanted(said := await asyncio.to_thread(get)):  # noqa: ASYNC110  # only asking can tell
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"/readyz said to the end: {said}")
    return said


async def restart_the_programmer(lab: Lab) -> None:
    program = lab.nodes[NODE].programmer
    before = program.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    async with asyncio.timeout(60):
        while program.pid in (None, before):  # noqa: ASYNC110  # /proc tells nobody when a pid is there
            await asyncio.sleep(0.05)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.timeout(OUTAGE_S + 240)
async def test_nodes_go_on_without_the_centre() -> None:
    async with await Lab.start(nodes=[NODE]) as lab:
        port = free_port()
        lab.nodes[NODE].programmer._variables[PREFIX + "HEALTH_PORT"] = str(port)
        await restart_the_programmer(lab)
        await lab.change(apply=read("---\n".join([NAMESPACE, POLICY, *map(pod, ("a", "b", "server"))])))
        await lab.realised()
        assert await enforced(lab) == PAIRS

        await stop_the_centre(lab)
        await lab.change(apply=read(pod("late")))
        said = await readiness(port, lambda text: "o/late" in text)
        assert f"o/late is closed: its policies are not known, for the bus 127.0.0.1:{lab.nats.port} is not" in said
        assert await enforced(lab) == PAIRS

        await restart_the_programmer(lab)
        said = await readiness(port, lambda text: "o/late" in text)
        assert "is not reached" in said
        assert not [name for name in ("o/a", "o/b", "o/server") if name in said]
        end = time.monotonic() + OUTAGE_S
        while time.monotonic() < end:
            assert await enforced(lab) == PAIRS
            await asyncio.sleep(0.5)
        (result,) = await lab.ask([question("late", "a")])
        assert result.result == "Dropped"
        assert "pods_wait_for_bus" in lab.nodes[NODE].programmer.log_file.read_text()

        start_the_centre(lab)
        await lab.realised()
        assert await enforced(lab) == PAIRS
        (result,) = await ask_again(lab, [question("late", "a")])
        assert result.result == "Allowed"
        assert await readiness(port, lambda text: text == "ready\n")
