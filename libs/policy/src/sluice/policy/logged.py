"""Which Kubernetes policies log their decisions: those in Namespaces with the annotation for it.

The policies have no field for this; a Namespace has an annotation (`contracts.objects.ENABLE_LOGGING`). It is applied
on top of the programs, whose translation does not depend on it.
"""

from collections.abc import Collection
from typing import NamedTuple

from msgspec.structs import replace

from sluice.contracts.ids import Unit
from sluice.contracts.programs import Program


class Relogged(NamedTuple):
    """Stands for an unchanged policy of which only logging is switched on or off."""

    on: bool


class Logged:
    """The Namespaces that log, and the policies in each Namespace. Mutable."""

    def __init__(self) -> None:
        self._on: set[str] = set()
        self._units: dict[str, set[Unit]] = {}
        """Kubernetes policies by Namespace."""

    def __contains__(self, namespace: str) -> bool:
        """Whether the Namespace's policies log."""
        return namespace in self._on

    def note(self, namespace: str, unit: Unit, *, exists: bool) -> None:
        """The Kubernetes policy exists in the Namespace, or does no longer."""
        units = self._units.setdefault(namespace, set())
        (units.add if exists else units.discard)(unit)
        if not units:
            del self._units[namespace]

    def say(self, namespace: str, *, on: bool) -> Collection[Unit]:
        """Switch logging of the Namespace's policies on or off; returns the units for which that is a change."""
        if on == (namespace in self._on):
            return ()
        (self._on.add if on else self._on.discard)(namespace)
        return sorted(self._units.get(namespace, ()))


def relogged(program: Program, *, on: bool) -> Program:
    """The program of a Kubernetes policy with logging of its decisions switched on or off."""
    return replace(program, rules=tuple([replace(rule, logs=on) for rule in program.rules]), logs_isolation=on)
