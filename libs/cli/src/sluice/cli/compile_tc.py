"""What a node's interfaces on secondary networks would have, as tc(8) commands."""

from typing import NamedTuple

from sluice.cli.derived import Derived
from sluice.contracts.ids import NodeName
from sluice.contracts.status import Problem
from sluice.dataplane.tc.engine import Engine
from sluice.dataplane.tc.filter import Hook
from sluice.dataplane.tc.mirror import Mirror
from sluice.dataplane.tc.plan import plan
from sluice.dataplane.tc.text import clsact, command


class Interface(NamedTuple):
    pod: str
    """namespace/name"""

    interface: str
    network: str
    device: str
    """Its name on the host; empty if the Pod's network-status does not state it."""

    zone: int
    """Conntrack zone: numbered in the order in which the interfaces are listed."""

    commands: tuple[str, ...]
    """The device is $DEV."""


def compiled(derived: Derived, node: NodeName) -> tuple[list[Interface], list[Problem]]:
    """The policed interfaces of the node, and what could not be compiled as written."""
    engine = Engine(node)
    programs = derived.programs_of("tc", node)
    for page in derived.pages(programs):
        engine.put_page(page)
    for program in programs:
        engine.put_program(program)
    return _interfaces(engine), sorted({*derived.compiler.problems, *engine.problems()})


def _interfaces(engine: Engine) -> list[Interface]:
    found = []
    policed = sorted((member.pod, key.network, key.interface, key) for key, member in engine.interfaces.items())
    for zone, (pod, network, interface, key) in enumerate(policed, start=1):
        steps = plan(engine.contents(key), {hook: Mirror() for hook in Hook}, zone)
        commands = (clsact("$DEV"), *(command("$DEV", hook, operation) for hook, operation in steps))
        device = engine.interfaces[key].attachment.representor
        found.append(Interface(pod, interface, network, device, zone, commands))
    return found


def script(interfaces: list[Interface]) -> str:
    """A shell script, to be run as root where the interfaces are, with no filters of ours on them."""
    lines = []
    for one in interfaces:
        lines.append(f"# {one.pod} {one.interface} on {one.network}")
        name = "".join(char if char.isalnum() else "_" for char in f"{one.pod}_{one.interface}").upper()
        lines.append(
            f"DEV={one.device}" if one.device else f"DEV=${{{name}:?which device is {one.interface} of {one.pod}}}"
        )
        lines += one.commands
    return "".join(f"{line}\n" for line in lines)
