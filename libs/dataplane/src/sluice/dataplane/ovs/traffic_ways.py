"""What each TrafficControl of a node does with packets, as far as its ports exist.

A TrafficControl takes effect as soon as its ports exist, or are known to be unavailable. If its ports change, it keeps
the old ones until then, so that nothing is lost in between.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sluice.contracts.ids import GroupId, Unit
from sluice.contracts.traffic_programs import TrafficProgram
from sluice.dataplane.ovs.traffic_ports import Broken, Found, Ready, State, Waiting, Wish, state, wish

_Claims = Mapping[str, list[tuple[tuple[bool, str, str], Wish]]]
"""The wishes for each name; the first one counts."""


class Way(NamedTuple):
    """What a TrafficControl does with packets, whichever Pods it selects."""

    redirects: bool
    target: Wish
    back: Wish | None
    passes: bool
    """While a port is missing, packets that would be redirected go on as usual."""

    @property
    def wishes(self) -> tuple[Wish, ...]:
        return (self.target,) if self.back is None else (self.target, self.back)


class Standing(NamedTuple):
    """A way that is in force, and the state of its ports."""

    way: Way
    states: tuple[State, ...]
    """States of the way's wishes, in the same order."""

    @property
    def target(self) -> int | None:
        """OpenFlow port."""
        return _ofport(self.states[0])

    @property
    def back(self) -> int | None:
        """OpenFlow port."""
        return _ofport(self.states[1]) if len(self.states) > 1 else None


class Ways:
    """Mutable. A change looks at every TrafficControl of the node, of which there are few."""

    def __init__(self) -> None:
        self._programs: dict[Unit, dict[GroupId, TrafficProgram]] = {}
        self._found: Mapping[str, Found] = {}
        self._refused: Mapping[str, str] = {}
        self._standing: dict[Unit, Standing] = {}
        self._claims: _Claims = {}
        self._stale = False
        self._changed: set[Unit] = set()

    def put(self, program: TrafficProgram) -> None:
        self._programs.setdefault(program.unit, {})[program.applied_to] = program
        self._stale = True

    def drop(self, group: GroupId, unit: Unit) -> None:
        held = self._programs.get(unit, {})
        held.pop(group, None)
        if not held:
            self._programs.pop(unit, None)
        self._stale = True

    def switch_has(self, found: Mapping[str, Found], refused: Mapping[str, str]) -> None:
        """The interfaces that exist, by name, and why some could not be created."""
        if (found, refused) != (self._found, self._refused):
            self._found, self._refused = found, refused
            self._stale = True

    @property
    def groups(self) -> Mapping[Unit, Mapping[GroupId, TrafficProgram]]:
        return self._programs

    @property
    def standing(self) -> Mapping[Unit, Standing]:
        """The TrafficControls in force, as of the last `drain` or `wishes`."""
        return self._standing

    def program(self, unit: Unit) -> TrafficProgram:
        """The unit's program. While it moves to other Pods it has two, and the newer one counts."""
        return max(self._programs[unit].values(), key=lambda one: (one.cause, one.applied_to))

    def drain(self) -> frozenset[Unit]:
        """The units whose effect changed since the last call."""
        self._settle()
        changed, self._changed = frozenset(self._changed), set()
        return changed

    def _settle(self) -> None:
        """Put everything into force that can be."""
        while self._stale:
            self._stale = False
            self._claims = self._claim()
            for unit in self._standing.keys() | self._programs.keys():
                before = self._standing.pop(unit, None)
                after = self._stand(unit, before)
                if after is not None:
                    self._standing[unit] = after
                if before != after:
                    self._changed.add(unit)
                    # Another unit's wish for the name may count now.
                    self._stale |= before is not None and (after is None or after.way != before.way)

    def wishes(self) -> dict[str, Wish]:
        """The ports that should exist, by name: of the ways in force, and of those that are to be."""
        self._settle()
        return {name: claims[0][1] for name, claims in self._claims.items()}

    def troubles(self, unit: Unit) -> list[tuple[bool, str]]:
        """What is wrong with the ports that the unit wants: whether it is permanent, and why."""
        found = []
        for one, what in zip(_wanted(self.program(unit)).wishes, ("targetPort", "returnPort"), strict=False):
            match self._state(one, returns=what == "returnPort"):
                case Broken(reason):
                    found.append((True, f"{what}: {reason}"))
                case Waiting():
                    found.append((False, f"{what}: {one.words} is being created"))
                case Ready():
                    pass
        return found

    def _stand(self, unit: Unit, before: Standing | None) -> Standing | None:
        if unit not in self._programs:
            return None
        wanted = _wanted(self.program(unit))
        if before is not None and wanted == before.way:
            return Standing(wanted, self._states(wanted))
        states = self._states(wanted)
        if any(isinstance(one, Waiting) for one in states):
            return None if before is None else Standing(before.way, self._states(before.way))
        return Standing(wanted, states)

    def _states(self, way: Way) -> tuple[State, ...]:
        target = self._state(way.target, returns=False)
        return (target,) if way.back is None else (target, self._state(way.back, returns=True))

    def _state(self, one: Wish, *, returns: bool) -> State:
        counts = self._claims[one.name][0][1]
        taken = None if counts == one else counts
        return state(one, self._found.get(one.name), self._refused.get(one.name), returns=returns, taken_by=taken)

    def _claim(self) -> _Claims:
        claims: dict[str, list[tuple[tuple[bool, str, str], Wish]]] = {}
        for unit in self._programs:
            program, held = self.program(unit), self._standing.get(unit)
            for way in {_wanted(program), *([held.way] if held is not None else [])}:
                for one in way.wishes:
                    claims.setdefault(one.name, []).append((program.order, one))
        return {name: sorted(found) for name, found in claims.items()}


def _wanted(program: TrafficProgram) -> Way:
    back = None if program.return_port is None else wish(program.return_port)
    return Way(program.action == "Redirect", wish(program.target), back, program.when_gone == "pass")


def _ofport(one: State) -> int | None:
    return one.ofport if isinstance(one, Ready) else None
