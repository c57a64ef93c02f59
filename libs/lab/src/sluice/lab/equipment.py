"""Equipment beside the nodes for mirrored and redirected traffic: devices, inline devices, receivers."""

from collections.abc import Iterable, Mapping, Sequence

from sluice.contracts.ids import NodeName
from sluice.lab.capture.capturing import Capture, Place
from sluice.lab.capture.counting import Ends
from sluice.lab.devices import Devices
from sluice.lab.ends import EXTERNAL_END
from sluice.lab.externals import ExternalHost
from sluice.lab.forwarders import Forwarders, Standing
from sluice.lab.node import LabNode
from sluice.lab.receiving import AT, PORT_END, Receiver
from sluice.lab.scenario import Spec
from sluice.lab.underlay import UPLINK

NOTHING = Spec()


class Equipment:
    def __init__(
        self,
        lab: str,
        nodes: Mapping[NodeName, LabNode],
        externals: Mapping[str, ExternalHost],
        forwarders: Forwarders,
    ) -> None:
        """`nodes` and `externals` are the lab's own mappings and change with it."""
        self._lab, self._nodes, self._externals, self._forwarders = lab, nodes, externals, forwarders
        self._devices: dict[NodeName, Devices] = {}
        self._used: tuple[NodeName, ...] = ()

    async def use(self, spec: Spec) -> None:
        """Set up exactly what the scenario asks for; the lab must have its nodes and hosts already.

        Raises:
            OSError: a device cannot be created.
        """
        self._used = tuple(map(NodeName, spec.nodes))
        for name, node in self._nodes.items():
            if name not in self._devices:
                self._devices[name] = Devices(self._lab, name, node.netns)
            await self._devices[name].use(spec.devices if name in self._used else ())
        asked = [receiver for step in spec.steps for receiver in step.capture]
        await self._forwarders.use(self._standing(spec), asked)

    async def change(self, devices: Mapping[str, bool]) -> None:
        """Add (True) or remove these devices on every node of the scenario."""
        for name, there in devices.items():
            for node in self._used:
                await (self._devices[node].add(name) if there else self._devices[node].remove(name))

    async def at_work(self) -> None:
        """Wait until all inline devices whose ports exist are forwarding.

        Raises:
            NotAtWork
        """
        await self._forwarders.at_work()

    def capture(self, receivers: Sequence[tuple[Receiver, Ends]]) -> Capture:
        """Captures what arrives at these receivers while the context is entered."""
        return Capture(receivers, {receiver.on: self._places(receiver.on) for receiver, _ in receivers})

    def _places(self, on: str) -> list[Place]:
        if not on.startswith(PORT_END):
            return [Place(self._externals[on.removeprefix(EXTERNAL_END)].netns, UPLINK, host=True)]
        port, _, node = on.removeprefix(PORT_END).partition(AT)
        return [self._devices[name].place(port) for name in self._used if node in ("", name)]

    def _standing(self, spec: Spec) -> Iterable[Standing]:
        for forwarder in spec.forwarders:
            if forwarder.back:
                name = forwarder.from_.removeprefix(EXTERNAL_END)
                yield Standing(forwarder, name, self._externals[name].netns, UPLINK, "")
                continue
            for node in self._used:
                came, goes = (self._devices[node].place(end) for end in (forwarder.from_, forwarder.to))
                yield Standing(forwarder, node, came.netns, came.link, goes.link)
