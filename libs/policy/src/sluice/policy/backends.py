"""Which backends hold which parts of a program."""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from sluice.contracts import subjects
from sluice.contracts.ids import Backend, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import Program
from sluice.contracts.traffic_programs import TrafficProgram

BACKENDS: Final[tuple[Backend, ...]] = ("ovs", "tc", "l7", "host")
"""The backends that programs are made for; each has marks of its own."""


def backends_of(unit: Unit) -> tuple[Backend, ...]:
    """The backends that may hold something of the unit."""
    match subjects.unit_parts(unit)[0]:
        case Kind.MULTI_NETWORK_POLICY:
            return ("tc",)  # secondary networks
        case Kind.TRAFFIC_CONTROL:
            return ("ovs",)
        case Kind.CLUSTER_NETWORK_POLICY:
            return ("ovs", "l7", "host")
        case _:
            return ("ovs", "l7")


def backend_of(program: Program | TrafficProgram) -> Backend:
    """The backend that holds the whole program."""
    if isinstance(program, Program) and program.about_nodes:
        return "host"
    return backends_of(program.unit)[0]


def parts(program: Program) -> Iterator[tuple[Backend, Program]]:
    """The part for each backend; first the one that holds the whole program."""
    first = backend_of(program)
    yield first, program
    if first == "ovs" and any(rule.l7 for rule in program.rules):
        yield "l7", requests_of(program)


def requests_of(program: Program) -> Program:
    """Only the layer 7 rules, and only their layer 7 conditions: the switch selects the packets."""
    rules = tuple(replace(rule, peers=None, traffic=None, services=None) for rule in program.rules if rule.l7)
    return replace(program, rules=rules, isolates=())
