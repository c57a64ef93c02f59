"""How long to wait before an engine is started anew. No I/O."""

SETTLED_S = 10.0
"""An engine that lived this long, and ends, is replaced at once."""

LONGEST_S = 10.0
SHORTEST_S = 0.25


class Patience:
    """Counts how often in a row an engine failed soon."""

    def __init__(self) -> None:
        self._failures = 0

    def after(self, lived_s: float, *, failed: bool) -> float:
        """Seconds to wait, after a life of so many.

        The first failure costs nothing, each that follows soon doubles the pause. An engine that did not fail but lost
        its switch says nothing about the next: one looks again soon whether the switch is back.
        """
        if not failed:
            return SHORTEST_S
        self._failures = 0 if lived_s > SETTLED_S else self._failures + 1
        return 0.0 if self._failures < 2 else min(SHORTEST_S * 2 ** min(self._failures - 2, 16), LONGEST_S)
