"""How often one may write: so many a second over time, and a few at once after a rest. Time comes in as an argument."""


class Pace:
    """A bucket that fills with permissions. Seconds of any clock that does not jump."""

    def __init__(self, per_s: float, burst: int, now_s: float) -> None:
        self._per_s, self._burst = per_s, float(burst)
        self._held, self._at_s = self._burst, now_s

    def wait_s(self, now_s: float) -> float:
        """Take a permission; the seconds to wait before it counts."""
        self._held = min(self._burst, self._held + (now_s - self._at_s) * self._per_s) - 1
        self._at_s = now_s
        return max(0.0, -self._held / self._per_s)
