"""A node with policed interfaces whose objects arrive one after the other: compiled, planned and walked."""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address

from sluice.contracts.ids import NodeName
from sluice.contracts.objects import AnyObject
from sluice.dataplane.protocols import EthType, IpProto
from sluice.dataplane.tc.content import NO_OPTIONS, Content, Options
from sluice.dataplane.tc.engine import Engine, InterfaceKey
from sluice.dataplane.tc.filter import Hook
from sluice.dataplane.tc.mirror import Mirror
from sluice.dataplane.tc.plan import Step, plan
from sluice.grouping.events import ObjectEvent
from sluice.testkit.expanders import story
from sluice.testkit.fed import fill
from sluice.testkit.tc_walker import Device, Frame, Tracker

HERE = NodeName("node-1")
PROTOCOLS = {"TCP": IpProto.TCP, "UDP": IpProto.UDP, "SCTP": IpProto.SCTP}


class TcNode:
    """All interfaces of the node are on one segment, whatever their networks."""

    def __init__(
        self, events: Iterable[ObjectEvent], options: Options = NO_OPTIONS, *, zones: bool = True, name: NodeName = HERE
    ) -> None:
        self.engine = Engine(name, options)
        self.state, self.grouping = fill(self.engine, events)
        self.tracker = Tracker()
        self.mirrors: dict[InterfaceKey, dict[Hook, Mirror]] = {}
        self._zones = zones

    @classmethod
    def of(cls, *objects: AnyObject, options: Options = NO_OPTIONS, zones: bool = True) -> "TcNode":
        return cls(story(*objects), options, zones=zones)

    def apply(self) -> "TcNode":
        """Plan every interface, and treat the plans as applied."""
        for key in self.engine.interfaces:
            self.make(key, self.engine.contents(key))
        return self

    def make(self, key: InterfaceKey, contents: Mapping[Hook, Content], *, revoke: bool = False) -> list[Step]:
        """Plan one interface, treat the plan as applied, and return it."""
        mirrors = self.mirrors.setdefault(key, {hook: Mirror() for hook in Hook})
        steps = plan(contents, mirrors, self.zone(key), revoke=revoke)
        for hook, operation in steps:
            mirrors[hook].apply((operation,))
        return steps

    def zone(self, key: InterfaceKey) -> int | None:
        return 1 + sorted({*self.mirrors, key}).index(key) if self._zones else None

    def key(self, pod: str, interface: str = "net1") -> InterfaceKey:
        """The key of a policed interface."""
        (found,) = [key for key, one in self.engine.interfaces.items() if (one.pod, key.interface) == (pod, interface)]
        return found

    def device(self, key: InterfaceKey | None) -> Device:
        """The interface in its present state; if it is None or not policed, everything passes."""
        mirrors = self.mirrors.get(key) if key else None
        return Device({hook: mirrors[hook].filters if mirrors else {} for hook in Hook}, self.tracker)

    def sends(self, frame: Frame, source: InterfaceKey | None, destination: InterfaceKey | None) -> bool:
        """Whether the frame gets from one to the other; None is an end that the node does not police."""
        out = self.device(source).out(frame)
        return out.passed and self.device(destination).into(frame, out.seen).passed


def frame(
    source: str,
    destination: str,
    protocol: str = "TCP",
    port: int = 0,
    source_port: int = 40_000,
    *,
    tagged: bool = False,
) -> Frame:
    """The first packet of a connection; ICMP is an echo request."""
    one, other = ip_address(source), ip_address(destination)
    v4 = one.version == 4
    made = Frame(EthType.IPV4 if v4 else EthType.IPV6, int(one), int(other), tagged=tagged)
    if protocol == "ICMP":
        return made._replace(protocol=IpProto.ICMP if v4 else IpProto.ICMPV6, icmp_type=8 if v4 else 128)
    return made._replace(protocol=PROTOCOLS[protocol], source_port=source_port, destination_port=port)
