"""The program that runs inside a guest: it does what it is called for, one call after the other, until nobody calls."""

import contextlib
import importlib.util
import os
import sys
import termios
import traceback
import tty
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from sluice.lab.guest import wire


def serve(channel: wire.Channel) -> None:
    """Answer calls until the channel ends."""
    with contextlib.suppress(wire.Gone):
        channel.send(wire.Returned(os.uname().release))
        while True:
            channel.send(_answer(channel.receive()))


def _answer(call: wire.Call) -> wire.Returned | wire.Raised:
    try:
        return wire.Returned(_function(call)(*call.arguments))
    except BaseException:  # noqa: BLE001  # whatever went wrong goes to who called
        return wire.Raised(traceback.format_exc())


def _function(call: wire.Call) -> Callable[..., Any]:
    found: Any = _module(call.file)
    for name in call.function.split("."):
        found = getattr(found, name)
    return found  # type: ignore[no-any-return]  # the caller named a function


def _module(file: str) -> ModuleType:
    """The module that is this file: the one that is loaded already, or a new one."""
    for module in list(sys.modules.values()):
        if getattr(module, "__file__", None) == file:
            return module
    name = f"guest_{Path(file).stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file}: no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def main(path: str) -> None:
    channel = os.open(path, os.O_RDWR | os.O_NOCTTY)
    if os.isatty(channel):
        tty.setraw(channel, termios.TCSANOW)
    serve(wire.Channel(lambda count: os.read(channel, count), lambda body: os.write(channel, body)))


if __name__ == "__main__":
    main(sys.argv[1])
