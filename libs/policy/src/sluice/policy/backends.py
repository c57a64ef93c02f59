"""Which backend holds the programs of which kind of policy."""

from typing import Final

from sluice.contracts import subjects
from sluice.contracts.ids import Backend, Unit
from sluice.contracts.kinds import Kind

BACKENDS: Final[tuple[Backend, ...]] = ("ovs", "tc")
"""Those that programs are made for: each has marks of its own."""


def backend_of(unit: Unit) -> Backend:
    """The one that enforces the unit: secondary networks are enforced by tc, the cluster's network by Open vSwitch."""
    return "tc" if subjects.unit_parts(unit)[0] is Kind.MULTI_NETWORK_POLICY else "ovs"
