"""A token bucket: limits the rate of writes, with a burst after a rest. Time is passed in as an argument."""


class Pace:
    """A token bucket. Times are seconds of any clock that does not jump."""

    def __init__(self, per_s: float, burst: int, now_s: float) -> None:
        self._per_s, self._burst = per_s, float(burst)
        self._held, self._at_s = self._burst, now_s

    def wait_s(self, now_s: float) -> float:
        """Take a token; returns the seconds to wait before using it."""
        self._held = min(self._burst, self._held + (now_s - self._at_s) * self._per_s) - 1
        self._at_s = now_s
        return max(0.0, -self._held / self._per_s)
