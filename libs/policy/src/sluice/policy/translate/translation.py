"""The result of translating one object, and the reasons why it may be incomplete."""

from collections.abc import Mapping

from msgspec import Struct

from sluice.contracts.ids import GroupId
from sluice.contracts.programs import Program
from sluice.grouping.selectors import GroupSelector


class Translation(Struct, frozen=True, gc=False):
    programs: tuple[Program, ...]
    """One for each group that the rules apply to."""

    groups: Mapping[GroupId, GroupSelector]
    """Every group that the programs name."""

    problems: tuple[str, ...] = ()
    """What admission should have refused. These pieces allow nothing; the rest of the policy is in force."""


class Untranslatable(ValueError):
    """The policy has no program, not even a closed one. The message says where, what, why and what to do."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code
        """Machine-readable reason, if the API defines one."""


class Refused(ValueError):
    """A piece of a policy is invalid; the message says what is wrong, why, and what to do."""
