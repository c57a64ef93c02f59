"""Retries for questions that share one socket."""

from collections.abc import Callable

from sluice.lab.prober.loop import Callback, Loop
from sluice.lab.prober.probing import Settled
from sluice.lab.prober.sockets import judge

Ask = Callable[[Settled], Callback]
"""Sends one question; the returned function cancels waiting for the answer, and can be called repeatedly. Raises
OSError."""


class Tries:
    """Like `Probe`, with whatever `ask` asks."""

    def __init__(self, loop: Loop, ask: Ask, count: int, timeout_s: float, settled: Settled) -> None:
        self._loop, self._ask, self._left, self._timeout_s, self._settled = loop, ask, count, timeout_s, settled
        self._cancel: Callback = lambda: None
        self._done = False
        self._next()

    def _next(self) -> None:
        self._cancel()
        if self._done:
            return
        if not self._left:
            self._settle("Dropped", "no answer")
            return
        self._left -= 1
        self._loop.later(self._timeout_s, self._next)
        try:
            self._cancel = self._ask(self._settle)
        except OSError as error:
            if verdict := judge(error.errno or 0, None):
                self._settle(*verdict)

    def _settle(self, result: str, detail: str) -> None:
        if not self._done:
            self._done = True
            self._cancel()  # now, not with the timer: the next question's packet would end the connection late
            self._settled(result, detail)
