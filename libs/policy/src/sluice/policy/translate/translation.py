"""The result of translating one object, and the reasons why it may be incomplete."""

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

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code
        """What machines know it by, where the API has a word for it."""


class Refused(ValueError):
    """A piece of a policy means nothing: what, why and what to do."""
