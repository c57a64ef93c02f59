"""What the kernel is told as devices go from Pod to Pod: on a machine that is folders, and a kernel that is a dict."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from sluice.contracts.groups import Member
from sluice.contracts.objects import AnyObject
from sluice.dataplane.tc.content import Content
from sluice.dataplane.tc.engine import Change, InterfaceKey
from sluice.dataplane.tc.filter import Hook
from sluice.dataplane.tc.mirror import Mirror
from sluice.drivers.tc.capabilities import Capabilities
from sluice.drivers.tc.hooks import Done, Hooks, Placed, Placement, Reading
from sluice.drivers.tc.messages import Where
from sluice.services.node_tc import upkeep as upkeep_module
from sluice.services.node_tc.settings import NodeTcSettings
from sluice.services.node_tc.upkeep import Upkeep
from sluice.testkit import builders
from sluice.testkit.tc_node import HERE, TcNode

FUNCTION = "0000:03:00.1"
BASE = (builders.namespace("x"), builders.network("x/net"))
POLICIES = (builders.multi("x/all", {"podSelector": {}}),)
A, B, WAITS = (
    builders.pod("x/a", nets=["x/net=10.0.0.1/via/rep0"]),
    builders.pod("x/b", nets=["x/net=10.0.0.1/via/rep0"]),
    builders.pod("x/b", annotations={"k8s.v1.cni.cncf.io/networks": "x/net"}),
)


class Kernel(Hooks):
    """What its hooks hold; and whether they stood open meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[Where, Mirror] = {}
        self.roots: list[int] = []
        """How many hooks had a root, after every single operation."""

    def opened(self) -> frozenset[int]:
        return frozenset(where.ifindex for where, mirror in self.held.items() if mirror.filters)

    def open(self, ifindex: int, *, ingress_block: int = 0, egress_block: int = 0) -> None:
        pass

    def read(self, where: Where) -> Reading:
        return Reading(dict(self._at(where).filters), (), Placement.SOFTWARE, 0)

    def apply(self, plan: Sequence[Placed], *, hardware: bool = False) -> Done:
        for where, operation in plan:
            self._at(where).apply((operation,))
            self.roots.append(sum(mirror.root is not None for mirror in self.held.values()))
        return Done(len(plan), Placement.SOFTWARE)

    def _at(self, where: Where) -> Mirror:
        return self.held.setdefault(where, Mirror())


class Node:
    """Upkeep of a node with one virtual function, and what the bus says to it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, *, close_idle: bool = True) -> None:
        _make_card(root)
        self.kernel = Kernel()
        monkeypatch.setattr(upkeep_module, "Hooks", lambda: self.kernel)
        self._told: TcNode | None = None
        settings = NodeTcSettings(sysfs=str(root), state_dir=str(root / "state"), close_idle=close_idle)
        self.upkeep = Upkeep(settings, Capabilities("6.1.0", zones=False), self)

    @property
    def interfaces(self) -> Mapping[InterfaceKey, Member]:
        return self._told.engine.interfaces if self._told else {}

    @property
    def claims(self) -> tuple[Member, ...] | None:
        return self._told.grouping.interfaces_on(HERE) if self._told else None

    def contents(self, key: InterfaceKey) -> Mapping[Hook, Content]:
        assert self._told is not None
        return self._told.engine.contents(key)

    def tell(self, *objects: AnyObject) -> None:
        before = set(self.interfaces)
        self._told = TcNode.of(*BASE, *objects)
        self.upkeep.advance(dict.fromkeys({*before, *self.interfaces}, Change(True, {})), 0.0)
        assert self.upkeep.done
        assert not self.upkeep.failures

    @property
    def state(self) -> str:
        roots = [mirror for mirror in self.kernel.held.values() if mirror.root is not None]
        if not roots:
            return "open"
        return "policed" if any(mirror.polices for mirror in roots) else "closed"


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    made = Node(tmp_path, monkeypatch)
    yield made
    made.upkeep.close()


def _make_card(root: Path) -> None:
    devices, interface = root / "bus/pci/devices", root / "class/net/rep0"
    for folder in (devices / "0000:03:00.0/net", devices / FUNCTION, interface):
        folder.mkdir(parents=True)
    (devices / FUNCTION / "physfn").symlink_to(devices / "0000:03:00.0")
    (devices / "0000:03:00.0/virtfn0").symlink_to(devices / FUNCTION)
    (devices / "0000:03:00.0/net/rep0").symlink_to(interface)
    for attribute, value in {"ifindex": 7, "phys_port_name": "pf0vf0", "phys_switch_id": "c0ffee"}.items():
        (interface / attribute).write_text(f"{value}\n")


def test_nothing_is_closed_before_it_is_told_who_has_what(node: Node) -> None:
    node.upkeep.advance({}, 0.0)

    assert node.state == "open"


def test_a_function_is_closed_until_its_next_pod_is_known(node: Node) -> None:
    states = []
    for objects in ((), (*POLICIES, WAITS), (*POLICIES, A), POLICIES, (A,), ()):
        node.tell(*objects)
        states.append(node.state)

    assert states == ["closed", "closed", "policed", "closed", "open", "closed"]


@pytest.mark.parametrize("before", [(), (A,)], ids=["nobody", "another Pod"])
def test_it_is_handed_over_without_being_open(before: tuple[AnyObject, ...], node: Node) -> None:
    node.tell(*POLICIES, *before)
    node.kernel.roots.clear()
    node.tell(*POLICIES, B)

    assert node.state == "policed"
    assert set(node.kernel.roots) <= {2}
    assert node.kernel.roots or before  # the same policies are there already


def test_what_is_closed_and_read_again_is_left_as_it_is(node: Node) -> None:
    node.tell()
    node.kernel.roots.clear()
    node.upkeep.look_again()
    node.upkeep.advance({}, 0.0)

    assert (node.state, node.kernel.roots) == ("closed", [])


def test_where_functions_are_used_by_others_nothing_idle_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(tmp_path, monkeypatch, close_idle=False)
    node.tell()
    node.upkeep.close()

    assert node.state == "open"
