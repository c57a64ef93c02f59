"""Running code in other network namespaces.

A dedicated thread enters the namespace and ends there, so that nothing else ever runs in the wrong one.
"""

import ctypes
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
"""Source: linux/sched.h."""

_libc = ctypes.CDLL(None, use_errno=True)


def inside(path: Path | None, function: Callable[[], T]) -> T:
    """Run the function in the namespace (None: the current one) and return its result.

    Raises:
        OSError: the namespace cannot be entered.
    """
    if path is None:
        return function()

    def enter() -> None:
        with path.open("rb") as namespace:
            _check(_libc.setns(namespace.fileno(), CLONE_NEWNET), f"setns {path}")

    return _in_a_thread(enter, function)


def apart(function: Callable[[], T]) -> T:
    """Run the function in a new namespace, which only its thread is in, and return its result.

    Raises:
        OSError: no namespace can be created.
    """
    return _in_a_thread(lambda: _check(_libc.unshare(CLONE_NEWNET), "unshare"), function)


def _in_a_thread(enter: Callable[[], None], function: Callable[[], T]) -> T:
    done: Future[T] = Future()

    def run() -> None:
        try:
            enter()
            done.set_result(function())
        except BaseException as error:  # noqa: BLE001  # raised again in the caller
            done.set_exception(error)

    thread = threading.Thread(target=run, name="netns", daemon=True)
    thread.start()
    thread.join()
    return done.result()


def _check(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
