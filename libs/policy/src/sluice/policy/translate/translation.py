"""What translating one object gives."""

from collections.abc import Mapping

from msgspec import Struct

from sluice.contracts.ids import GroupId
from sluice.contracts.programs import Program
from sluice.grouping.selectors import GroupSelector


class Translation(Struct, frozen=True, gc=False):
    programs: tuple[Program, ...]
    """One for each distinct appliedTo list."""

    groups: Mapping[GroupId, GroupSelector]
    """Every group that the programs name."""

    problems: tuple[str, ...] = ()
    """What admission should have refused. It allows nothing here, and the rest of the policy stands."""


class Untranslatable(ValueError):
    """The policy has no program, not even a closed one. The message says where, what, why and what to do."""
