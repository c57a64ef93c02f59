"""The plugin's files on the host: the plugin itself, a Python for it, and the network configuration that names it.

Each is replaced atomically, the configuration last: once the kubelet finds it, it considers the node ready for Pods.
"""

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from sluice.contracts import codec
from sluice.services.cni import plugin
from sluice.services.cni.protocol import VERSIONS
from sluice.services.cni.settings import CniSettings

NAME = "sluice"
"""Name of the plugin's executable and of the network."""

CONF = "10-sluice.conflist"

_START = """#!/bin/sh
own="${{0%/*}}/.sluice"
exec {words} -I -S "$own/plugin.py" "$@"
"""


def install(settings: CniSettings) -> None:
    """Install the plugin on the host.

    Raises:
        OSError: a file is not writable; the message says which.
    """
    folder = Path(settings.install_bin)
    own = folder / ".sluice"
    own.mkdir(parents=True, exist_ok=True)
    text = Path(plugin.__file__).read_text()
    _write(own / "plugin.py", text.replace(plugin.SOCKET, settings.socket), 0o644)
    words = _carry(own) if settings.carry_python else "python3"
    _write(folder / NAME, _START.format(words=words), 0o755)
    conf = {
        "cniVersion": VERSIONS[1],  # current kubelets speak 1.0.0
        "name": NAME,
        "plugins": [{"type": NAME}, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }
    if not (folder / "portmap").exists():  # hostPort is the job of another plugin, which may be missing
        conf["plugins"] = [{"type": NAME}]
    _write(Path(settings.install_conf) / CONF, codec.encode(conf).decode(), 0o644)


def _carry(own: Path) -> str:
    """The command that runs our interpreter on the host, whatever C library the host has."""
    interpreter = Path(sys.executable).resolve()
    libraries = [line.split() for line in subprocess.check_output(["ldd", interpreter], text=True).splitlines()]
    paths = [Path(word) for words in libraries for word in words if word.startswith("/")]
    (loader,) = [path for path in paths if path.name.startswith("ld-")]
    version = f"python{sysconfig.get_python_version()}"
    standard = Path(sysconfig.get_path("stdlib"))
    target = own / "python"
    if not (target / "complete").exists():
        shutil.rmtree(target, ignore_errors=True)
        (target / "bin").mkdir(parents=True)
        (target / "lib").mkdir()
        shutil.copy2(interpreter, target / "bin" / "python3")
        for path in paths:
            shutil.copy2(path, target / "lib" / path.name)
        unused = shutil.ignore_patterns(
            "site-packages", "test", "tests", "idlelib", "tkinter", "ensurepip", "config-*", "__pycache__"
        )
        shutil.copytree(standard, target / "lib" / version, ignore=unused, symlinks=False)
        (target / "complete").touch()
    return f'"$own/python/lib/{loader.name}" --library-path "$own/python/lib" "$own/python/bin/python3"'


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.chmod(mode)
    new.replace(path)
