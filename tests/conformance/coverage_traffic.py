"""The part of docs/conformance.md about TrafficControls: which of them have packets counted where they send them.

A cell counts where a step expects packets at the receiver that a TrafficControl in force has for its target.
"""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from itertools import product
from typing import NamedTuple

from sluice.contracts.traffic_control import TrafficControl, TrafficPort
from sluice.lab import checks, reading
from sluice.lab.ends import EXTERNAL_END, ends_of
from sluice.lab.playing import play
from sluice.lab.receiving import AT, PORT_END, Receiver
from sluice.lab.scenario import Spec

KINDS = ("ovsInternal", "device", "geneve", "vxlan", "gre", "erspan 1", "erspan 2")
DIRECTIONS = ("Ingress", "Egress", "Both")
FAMILIES = ("4", "6")

HEAD = """\
## TrafficControl

`crd.antrea.io/v1alpha2`

`4` and `6` stand where packets of this IP version are counted at the receiver, decoded where they come by a tunnel.
`returnPort` is of the same kind. Beside these, scenarios in `traffic-control/` are about conflicts, Pods that are both
selected, Services, devices that go, names that are taken, selectors, updates, and policies on what is redirected.
"""


class Steered(NamedTuple):
    action: str
    kind: str
    direction: str
    family: str


def every() -> Iterator[tuple[str, str, str]]:
    """Every kind of TrafficControl that can be written: ERSPAN carries copies only."""
    for action, kind, direction in product(("Mirror", "Redirect"), KINDS, DIRECTIONS):
        if action == "Mirror" or not kind.startswith("erspan"):
            yield action, kind, direction


def steered(stories: Sequence[reading.Story]) -> set[Steered]:
    """The cells that packets of the scenarios fall into."""
    return {cell for story in stories if not story.scenario.offline for cell in _of_story(story)}


def _of_story(story: reading.Story) -> Iterator[Steered]:
    spec = story.scenario.spec
    for told, world in play(story):
        if not told.step.capture:
            continue
        families = {checks.family(each.address)[-1] for each in checks.probes(told.step, ends_of(world))}
        for document in world.objects.values():
            control = document.object
            if isinstance(control, TrafficControl) and any(_shows(spec, one, control) for one in told.step.capture):
                kind = kind_of(control.spec.target_port)
                yield from (Steered(control.spec.action, kind, control.spec.direction, each) for each in families)


def _shows(spec: Spec, receiver: Receiver, control: TrafficControl) -> bool:
    """Packets are expected there, and it is the target."""
    if receiver.packets == 0 or receiver.into:
        return False
    port = control.spec.target_port
    if named := port.ovs_internal or port.device:
        return receiver.on.partition(AT)[0] == PORT_END + named.name
    tunnel = port.geneve or port.vxlan or port.gre or port.erspan
    host = spec.outside.get(receiver.on.removeprefix(EXTERNAL_END))
    return bool(tunnel and host == str(ip_address(tunnel.remote_ip)) and receiver.proto == kind_of(port).split()[0])


def kind_of(port: TrafficPort) -> str:
    """Its name in the table."""
    if port.erspan is not None:
        return f"erspan {port.erspan.version}"
    parts = (port.ovs_internal, port.device, port.geneve, port.vxlan, port.gre)
    return next(kind for kind, part in zip(KINDS, parts, strict=False) if part is not None)


def table(cells: set[Steered]) -> str:
    """The page's part."""
    lines = [HEAD, "| action | target | " + " | ".join(DIRECTIONS) + " |", "|---|---|---|---|---|"]
    for action, kind in dict.fromkeys((action, kind) for action, kind, _ in every()):
        row = (" ".join(each for each in FAMILIES if Steered(action, kind, one, each) in cells) for one in DIRECTIONS)
        lines.append(f"| {action} | {kind} | " + " | ".join(row) + " |")
    return "\n".join([*lines, ""])
