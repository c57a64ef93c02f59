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
    """In place of a policy: as it was, but that it logs, or does not."""

    on: bool


class Logged:
    """What Namespaces say, and which policies that is about. Mutable."""

    def __init__(self) -> None:
        self._on: set[str] = set()
        self._units: dict[str, set[Unit]] = {}
        """Of Kubernetes policies, by Namespace."""

    def __contains__(self, namespace: str) -> bool:
        """The Namespace's policies log."""
        return namespace in self._on

    def note(self, namespace: str, unit: Unit, *, exists: bool) -> None:
        """The Namespace has this Kubernetes policy, or has it no more."""
        units = self._units.setdefault(namespace, set())
        (units.add if exists else units.discard)(unit)
        if not units:
            del self._units[namespace]

    def say(self, namespace: str, *, on: bool) -> Collection[Unit]:
        """The Namespace's policies log, or do not; the units of which that was not so before."""
        if on == (namespace in self._on):
            return ()
        (self._on.add if on else self._on.discard)(namespace)
        return sorted(self._units.get(namespace, ()))


def relogged(program: Program, *, on: bool) -> Program:
    """The program of a Kubernetes policy that logs what it decides, or does not."""
    return replace(program, rules=tuple([replace(rule, logs=on) for rule in program.rules]), logs_isolation=on)
