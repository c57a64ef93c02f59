"""Which Kubernetes policies log what they decide: those of the Namespaces that say so.

They have no field for it; a Namespace has an annotation (`contracts.objects.ENABLE_LOGGING`). It is laid over the
programs, which are translated without a look at anything else.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from sluice.contracts import subjects
from sluice.contracts.ids import Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import Program


class Logged:
    """What Namespaces say, and which policies that is about. Mutable."""

    def __init__(self) -> None:
        self._on: set[str] = set()
        self._units: dict[str, set[Unit]] = {}
        """Of Kubernetes policies, by Namespace."""

    def note(self, unit: Unit, *, exists: bool) -> None:
        """The unit has programs, or none. Units of other kinds are no matter of ours."""
        kind, namespace, _ = subjects.unit_parts(unit)
        if kind is not Kind.K8S_NETWORK_POLICY:
            return
        units = self._units.setdefault(namespace, set())
        (units.add if exists else units.discard)(unit)
        if not units:
            del self._units[namespace]

    def say(self, namespace: str, *, on: bool) -> Iterable[Unit]:
        """The Namespace's policies log, or do not; the units of which that was not so before."""
        if on == (namespace in self._on):
            return ()
        (self._on.add if on else self._on.discard)(namespace)
        return sorted(self._units.get(namespace, ()))

    def of(self, program: Program) -> Program:
        """The program of a Kubernetes policy, as its Namespace has it."""
        on = program.origin.namespace in self._on
        if on == program.logs_isolation:
            return program
        return replace(program, rules=tuple(replace(rule, logs=on) for rule in program.rules), logs_isolation=on)
