"""How much a function does, counted and not timed, so that a test can tell linear work from quadratic."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def work(done: Callable[[], object]) -> int:
    """Number of bytecode instructions that Python executes for this. What is written in C counts as its call."""
    count = 0

    def step(_frame: FrameType, event: str, _arg: Any) -> Any:  # Any: as sys.settrace has it
        nonlocal count
        if event == "opcode":
            count += 1
        return step

    def begin(frame: FrameType, _event: str, _arg: Any) -> Any:
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return step

    before = sys.gettrace()
    sys.settrace(begin)
    try:
        done()
    finally:
        sys.settrace(before)
    return count
