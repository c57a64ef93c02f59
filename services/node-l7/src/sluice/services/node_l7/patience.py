"""How long to wait before restarting the engine. No I/O."""

SETTLED_S = 10.0
"""An engine that ends after living this long is replaced at once."""

LONGEST_S = 10.0
SHORTEST_S = 0.25


class Patience:
    """Counts how many times in a row an engine failed early."""

    def __init__(self) -> None:
        self._failures = 0

    def after(self, lived_s: float, *, failed: bool) -> float:
        """Seconds to wait after a life of this length.

        The first failure costs nothing, each further early one doubles the pause. An engine that did not fail but lost
        its switch tells nothing about the next one: it is soon checked whether the switch is back.
        """
        if not failed:
            return SHORTEST_S
        self._failures = 0 if lived_s > SETTLED_S else self._failures + 1
        return 0.0 if self._failures < 2 else min(SHORTEST_S * 2 ** min(self._failures - 2, 16), LONGEST_S)
