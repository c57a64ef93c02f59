"""NATS and every central service are away, for long; nodes go on.

Real packets all the while: what was denied is denied, what was allowed is allowed, also over a restart of node-ovs. A
Pod that comes meanwhile is closed, and node-ovs says so and why, whether it knew the bus before or not; on a node whose
operator wants it otherwise (`WITHOUT_BUS=open`) it talks as if no policy were about it, unless node-ovs was started
without the bus. Then all of it comes back, and policies are in force for whoever came.

`SLUICE_OUTAGE_S=600 ./task test tests/e2e/test_outage.py` is ten minutes of it.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from http.client import HTTPConnection

import pytest

from sluice.contracts.ids import NodeName
from sluice.lab.checks import Question
from sluice.lab.lab import CENTRAL, Lab
from sluice.lab.ports import free_port
from sluice.lab.trains import ask_again
from sluice.testkit.manifests import read

pytestmark = [pytest.mark.datapath, pytest.mark.once, pytest.mark.slow]

OUTAGE_S = float(os.environ.get("SLUICE_OUTAGE_S", "8"))
"""From when the programmer is back to when the bus is."""

NODE, OPEN = NodeName("node-1"), NodeName("node-2")
"""The second one opens the ports of new Pods while the bus is away."""

NAMES = ("a", "b", "server", "late"), ("a2", "b2", "server2", "late2", "later2")
Expected = dict[tuple[str, str], str]
PODS = {name: f"10.10.{at}.{number}" for at, names in enumerate(NAMES, 7) for number, name in enumerate(names, 1)}
PAIRS = {
    ("a", "server"): "Allowed",
    ("b", "server"): "Dropped",
    ("server", "a"): "Allowed",
    ("a2", "server2"): "Allowed",
    ("b2", "server2"): "Dropped",
    ("a2", "server"): "Allowed",
    ("b", "server2"): "Dropped",
    ("b2", "server"): "Dropped",
}
CLOSED = {("late", "a"): "Dropped", ("a", "late"): "Dropped"}
OPENED = {
    ("late2", "a2"): "Allowed",
    ("a2", "late2"): "Allowed",
    ("b2", "late2"): "Allowed",  # nobody could know that a policy says otherwise
    ("late2", "server2"): "Dropped",
}
LATER_CLOSED = {("later2", "a2"): "Dropped", ("a2", "later2"): "Dropped"}
KEPT = {"a2": "Allowed", "b2": "Dropped"}
"""What becomes of the connections that they have to `late2` by then."""

IN_FORCE = {
    ("late", "a"): "Allowed",
    ("a", "late"): "Allowed",
    ("b", "late"): "Dropped",
    ("late2", "a2"): "Allowed",
    ("a2", "late2"): "Allowed",
    ("b2", "late2"): "Dropped",
    ("later2", "a2"): "Allowed",
    ("a2", "later2"): "Allowed",
    ("b2", "later2"): "Dropped",
}
"""Of those who came meanwhile, once the bus is back: the policy is about them, too."""

PREFIX = "SLUICE_NODE_OVS_"


def pod(name: str) -> str:
    node, app = (OPEN if name in NAMES[1] else NODE), name.rstrip("2")
    return (
        f"apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: o, labels: {{app: {app}}}}}\n"
        f"spec: {{nodeName: {node}, containers: [{{name: main, image: any, ports: [{{containerPort: 80}}]}}]}}\n"
        f"status: {{podIPs: [{{ip: {PODS[name]}}}]}}\n"
    )


POLICY = (
    "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: server, namespace: o}\n"
    "spec:\n  podSelector: {matchExpressions: [{key: app, operator: In, values: [server, late, later]}]}\n"
    "  ingress: [{from: [{podSelector: {matchLabels: {app: a}}}]}]\n"
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


async def enforced(lab: Lab, expected: Expected = PAIRS) -> Expected:
    """What becomes of a packet between each pair, now."""
    results = await ask_again(lab, [question(*pair, expect) for pair, expect in expected.items()])
    return dict(zip(expected, (one.result for one in results), strict=True))


async def stop_the_centre(lab: Lab) -> None:
    """As by kill -9 of all of it, and nobody starts it again."""
    names = {*CENTRAL, "nats-server"}
    for task in [task for task in lab.running.tasks if task.get_name() in names]:
        task.cancel()
    for name in CENTRAL:
        lab.running.programs[name].kill()
        await lab.running.programs[name].ended()
    await lab.nats.kill()


def start_the_centre(lab: Lab) -> None:
    for name in ("nats-server", *CENTRAL):
        lab.running.spawn(lab.running.supervised[name].run(), name)


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


async def restart_the_programmer(lab: Lab, node: NodeName) -> None:
    program = lab.nodes[node].programmer
    before = program.pid
    assert before is not None
    os.kill(before, signal.SIGKILL)
    async with asyncio.timeout(60):
        while program.pid in (None, before):  # noqa: ASYNC110  # /proc tells nobody when a pid is there
            await asyncio.sleep(0.05)


async def new_pods_are_open(lab: Lab) -> None:
    """Return once they are on the second node."""
    async with asyncio.timeout(60):
        while "new_pods_opened" not in lab.nodes[OPEN].programmer.log_file.read_text():  # noqa: ASYNC110  # a log
            await asyncio.sleep(0.1)
        while await enforced(lab, OPENED) != OPENED:
            pass


@pytest.mark.timeout(OUTAGE_S + 300)
async def test_nodes_go_on_without_the_centre() -> None:
    async with await Lab.start(nodes=[NODE, OPEN]) as lab:
        port, other = free_port(), free_port()
        for node, own in (
            (NODE, {"HEALTH_PORT": str(port)}),
            (OPEN, {"HEALTH_PORT": str(other), "WITHOUT_BUS": "open", "WITHOUT_BUS_AFTER_S": "1"}),
        ):
            lab.nodes[node].programmer._variables.update({PREFIX + name: value for name, value in own.items()})
            await restart_the_programmer(lab, node)
        first = [name for names in NAMES for name in names if not name.startswith("late")]
        await lab.change(apply=read("---\n".join([NAMESPACE, POLICY, *map(pod, first)])))
        await lab.realised(120)
        assert await enforced(lab) == PAIRS

        await stop_the_centre(lab)
        await lab.change(apply=read("---\n".join(map(pod, ("late", "late2")))))
        said = await readiness(port, lambda text: "o/late" in text)
        assert (
            f"o/late is closed, because its policies are unknown: the bus 127.0.0.1:{lab.nats.port} cannot be reached"
            in said
        )
        await new_pods_are_open(lab)
        assert await enforced(lab, PAIRS | CLOSED) == PAIRS | CLOSED
        for each in KEPT:
            assert (await lab.prober(f"o/{each}").open("kept", question(each, "late2"), tries=20)).result == "Allowed"

        for node in (NODE, OPEN):
            await restart_the_programmer(lab, node)
        await lab.change(apply=read(pod("later2")))
        said = await readiness(port, lambda text: "o/late" in text)
        assert "cannot be reached" in said
        assert not [name for name in ("o/a", "o/b", "o/server") if name in said]
        said = await readiness(other, lambda text: "o/later2 is closed" in text)
        assert "o/late2" not in said
        meanwhile = PAIRS | CLOSED | OPENED | LATER_CLOSED
        end = time.monotonic() + OUTAGE_S
        while time.monotonic() < end:
            assert await enforced(lab, meanwhile) == meanwhile
            await asyncio.sleep(0.5)
        assert "pods_wait_for_bus" in lab.nodes[NODE].programmer.log_file.read_text()

        start_the_centre(lab)
        await lab.realised(120)
        assert await enforced(lab, PAIRS | IN_FORCE) == PAIRS | IN_FORCE
        kept = {each: await lab.prober(f"o/{each}").check("kept", question(each, "late2")) for each in KEPT}
        assert {each: one.result for each, one in kept.items()} == KEPT
        for health in (port, other):
            assert await readiness(health, lambda text: text == "ready\n")
