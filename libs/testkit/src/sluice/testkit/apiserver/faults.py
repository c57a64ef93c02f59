"""Injected failures."""

from collections import deque
from typing import NamedTuple

from sluice.testkit.apiserver.store import Refused


class _Trouble(NamedTuple):
    path: str
    refused: Refused


class Faults:
    """Switches for tests; the server checks them on every request."""

    def __init__(self) -> None:
        self._next: deque[_Trouble] = deque()
        self.forbidden: set[str] = set()
        """Plurals that nobody may read."""

        self.streaming_lists = True
        """Support `sendInitialEvents`; otherwise refuse it like servers with the feature gate off."""

        self.gone_as_status = False
        """Send 410 as the response's own status, not as a line of a stream."""

        self.mute = False
        """Open watches stay open but send nothing more, not even a bookmark, nor after this is turned off."""

        self.bookmark_every_s = 1.0

    def throttle(self, times: int, *, retry_after_s: int = 1, path: str = "") -> None:
        """Answer the next requests whose path contains the text with 429."""
        trouble = Refused(
            429, "TooManyRequests", "too many requests, please try again later", retry_after_s=retry_after_s
        )
        self._next.extend([_Trouble(path, trouble)] * times)

    def fail(self, times: int, *, code: int = 500, path: str = "") -> None:
        """Let the next requests whose path contains the text fail."""
        reason = {500: "InternalError", 503: "ServiceUnavailable", 504: "Timeout"}.get(code, "Unknown")
        self._next.extend([_Trouble(path, Refused(code, reason, f"the double was told to answer {code}"))] * times)

    def check(self, path: str) -> None:
        """Return if the request may pass.

        Raises:
            Refused: it may not.
        """
        for index, trouble in enumerate(self._next):
            if trouble.path in path:
                del self._next[index]
                raise trouble.refused
