"""The program that runs inside a guest: it executes calls one after the other until the channel ends."""

import contextlib
import importlib.util
import os
import pickle
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
            answer = _answer(channel.receive())
            try:
                channel.send(answer)
            except (pickle.PicklingError, TypeError, AttributeError) as error:  # raised before anything was sent
                channel.send(wire.Raised(f"what was returned does not pickle: {error}"))


def _answer(call: wire.Call) -> wire.Returned | wire.Raised:
    try:
        function = _function(call)
        return wire.Returned(function(*pickle.loads(call.arguments)))  # noqa: S301  # see `wire`
    except BaseException:  # noqa: BLE001  # whatever went wrong is reported to the caller
        return wire.Raised(traceback.format_exc())


def _function(call: wire.Call) -> Callable[..., Any]:
    found: Any = _module(call.module, call.file)
    for name in call.function.split("."):
        found = getattr(found, name)
    return found  # type: ignore[no-any-return]  # the caller named a function


def _module(name: str, file: str) -> ModuleType:
    """The module from this file, under the name it has outside, so that objects it defines can be pickled."""
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file}: no Python file")
    module = importlib.util.module_from_spec(spec)
    _package(name.rpartition(".")[0], Path(file).parent)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _package(name: str, folder: Path) -> None:
    """Create the packages around a module: pickle needs them, and the module can then import its neighbours."""
    if name and name not in sys.modules:
        _package(name.rpartition(".")[0], folder.parent)
        package = sys.modules[name] = ModuleType(name)
        package.__path__ = [str(folder)]


def main(path: str) -> None:
    channel = os.open(path, os.O_RDWR | os.O_NOCTTY)
    if os.isatty(channel):
        tty.setraw(channel, termios.TCSANOW)
    serve(wire.Channel(lambda count: os.read(channel, count), lambda body: os.write(channel, body)))


if __name__ == "__main__":
    main(sys.argv[1])
