"""Objects become filters at the representors of Pods that answer: what runs in a guest, and what is expected of it.

The same code as in production, but for the bus and the services around it: selectors, translation, engine, plans, the
keeper of node-tc and its driver.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Literal

from tests.tc.network import Network, Probe

from sluice.contracts.groups import Member
from sluice.contracts.objects import AnyObject, Protocol
from sluice.dataplane.tc.content import NO_OPTIONS, Content, Options
from sluice.dataplane.tc.engine import Change, InterfaceKey
from sluice.dataplane.tc.filter import Hook, Standings
from sluice.drivers.tc import messages
from sluice.drivers.tc.capabilities import Capabilities
from sluice.drivers.tc.hooks import Hooks
from sluice.policy.packet import Packet, PodEnd
from sluice.policy.verdict import verdict
from sluice.services.node_tc.settings import NodeTcSettings
from sluice.services.node_tc.upkeep import Upkeep
from sluice.testkit import builders
from sluice.testkit.tc_node import HERE, TcNode

PODS: dict[str, tuple[str, ...]] = {
    "x/a": ("10.0.0.1", "fd00::1"),
    "x/b": ("10.0.0.2", "fd00::2"),
    "x/c": ("10.0.0.3", "fd00::3"),
    "y/d": ("10.0.0.4", "fd00::4"),
}
"""All on one network, of namespace x."""

WEB = {"x/a": 80, "x/b": 81, "x/c": 80, "y/d": 81}
"""The number that the port called web has."""

TRAFFIC: tuple[tuple[Protocol | Literal["ICMP"], int], ...] = (
    *(("TCP", port) for port in (80, 81, 5500)),
    *(("UDP", port) for port in (80, 5500)),
    ("SCTP", 80),
    ("ICMP", 0),
)
MATRIX = tuple(
    (source, to, protocol, port, family)
    for source, to in product(PODS, repeat=2)
    if source != to
    for protocol, port in TRAFFIC
    for family in (4, 6)
)
Cell = tuple[str, str, str, int, int]


def cluster(*policies: AnyObject) -> tuple[AnyObject, ...]:
    """The Pods of the scene, and these policies."""
    namespaces = [builders.namespace(name, name=name) for name in ("x", "y")]
    pods = [
        builders.pod(
            key, ports=[("web", WEB[key])], app=name(key), nets=[f"x/net={','.join(addresses)}/via/rep-{name(key)}"]
        )
        for key, addresses in PODS.items()
    ]
    return (*namespaces, builders.network("x/net"), *pods, *policies)


def name(pod: str) -> str:
    return pod.split("/")[1]


def expected(policies: Iterable[AnyObject]) -> dict[Cell, bool]:
    """What `verdict` says of every cell."""
    node = TcNode.of(*cluster(*policies))
    found: dict[Cell, bool] = {}
    for source, to, protocol, port, family in MATRIX:
        packet = Packet(source=_end(source), destination=_end(to), protocol=protocol, port=port or None, family=family)  # type: ignore[arg-type]  # as in TRAFFIC
        said = verdict(node.state, packet)
        found[source, to, protocol, port, family] = all(
            one is None or one.action == "allow" for one in (said.egress, said.ingress)
        )
    return found


def _end(pod: str) -> PodEnd:
    return PodEnd(pod.split("/", maxsplit=1)[0], name(pod), "x/net", "net1")


class Scene:
    """The Pods of `PODS`, and what is programmed for them."""

    def __init__(self, *, zones: bool) -> None:
        prefixes = {4: "/24", 6: "/64"}
        self.network = Network(
            {name(pod): [one + prefixes[6 if ":" in one else 4] for one in PODS[pod]] for pod in PODS}
        )
        self._capabilities = Capabilities(os.uname().release, zones)
        self._settings = NodeTcSettings(direct=True, state_dir="/run/node-tc", pod_rules_path="/run/pod-rules")
        self.node = TcNode.of(*cluster())
        self.now_s = 0.0
        self.begin()

    def begin(self) -> None:
        """A programmer begins: it knows nothing but what the kernel and its folder hold."""
        self.upkeep = Upkeep(self._settings, self._capabilities, self)

    # what the upkeep asks: the programmer without a bus

    @property
    def interfaces(self) -> Mapping[InterfaceKey, Member]:
        return self.node.engine.interfaces

    @property
    def claims(self) -> tuple[Member, ...]:
        return self.node.grouping.interfaces_on(HERE)

    def contents(self, key: InterfaceKey) -> Mapping[Hook, Content]:
        return self.node.engine.contents(key)

    def close(self) -> None:
        self.upkeep.close()
        self.network.close()

    def program(self, *policies: AnyObject, options: Options = NO_OPTIONS) -> None:
        """The policies, and no others, are in force."""
        before = set(self.interfaces)
        self.node = TcNode.of(*cluster(*policies), options=options)
        self.advance(dict.fromkeys({*before, *self.interfaces}, Change(True, {})))

    def advance(self, changes: Mapping[InterfaceKey, Change]) -> None:
        self.upkeep.heard(self.upkeep.events.pending())
        self.upkeep.advance(changes, self.now_s)
        assert not self.upkeep.failures, self.upkeep.failures
        assert not self.upkeep.errors, self.upkeep.errors
        assert self.upkeep.done

    def standings(self, pod: str) -> dict[Hook, Standings]:
        """What is of ours at the Pod's interface, by the kernel's own word."""
        driver = Hooks()
        try:
            index = self.network.pods[name(pod)].ifindex
            return {hook: driver.read(messages.hook(index, hook)).standings for hook in Hook}
        finally:
            driver.close()

    def matrix(self, cells: Iterable[Cell] = MATRIX) -> dict[Cell, bool]:
        asked = list(cells)
        probes = [
            Probe(name(source), PODS[to][family == 6], protocol, port) for source, to, protocol, port, family in asked
        ]
        return dict(zip(asked, self.network.ask_all(probes), strict=True))


_SCENES: list[Scene] = []


@contextlib.contextmanager
def scene(*, zones: bool, clean: bool = True) -> Iterator[Scene]:
    """The scene of this guest, made once; no policy is about it any more, unless it is to be left as it is."""
    if not _SCENES:
        _SCENES.append(Scene(zones=zones))
    (found,) = _SCENES
    if not clean:
        yield found
        return
    found.program()
    assert not any(any(found.standings(pod).values()) for pod in PODS), "something is left of an earlier play"
    yield found


def play(policies: tuple[AnyObject, ...], zones: bool, options: Options) -> dict[Cell, bool]:
    """What is answered of all cells while the policies are in force."""
    with scene(zones=zones) as found:
        found.program(*policies, options=options)
        return found.matrix()
