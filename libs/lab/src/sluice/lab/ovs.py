"""Open vSwitch for one node: ovsdb-server and ovs-vswitchd in a network namespace, with all their files in one folder.

Both are daemons: they outlive the process that started them, and any process that knows the folder can find and stop
them. There is one ovs-vswitchd per namespace; a second would collide with it on the tap device `ovs-netdev`.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Self

from sluice.drivers.jsonrpc import RpcGone
from sluice.drivers.ovsdb.client import PROTOCOLS, Ovsdb
from sluice.drivers.suricata.taps import TAGS
from sluice.drivers.unixctl import CommandRefused, command

BRIDGE = "br-int"

START_TIMEOUT_S = 20.0
"""Each daemon answers after some 30 ms; on a loaded machine it takes longer."""

STOP_TIMEOUT_S = 5.0
"""Time for a daemon to exit by itself before it is killed."""

WATCHER = "monitor"
"""The process name of a daemon that monitors another. Source: lib/daemon-unix.c of Open vSwitch, monitor_daemon."""

FOLDER_VARIABLES = ("OVS_RUNDIR", "OVS_DBDIR", "OVS_LOGDIR", "OVS_SYSCONFDIR")
"""Where the programs keep their files. Source: ovs-vswitchd(8)."""

LONGEST_SOCKET_PATH = 107
"""Bytes. Source: unix(7), sun_path."""


class OvsFailed(Exception):
    """A program of Open vSwitch failed to do its job."""


class OvsNode:
    """The switch of one node. Holds no connections and belongs to no event loop: its state is in the folder."""

    def __init__(self, netns: str, folder: Path, variables: Mapping[str, str] | None = None) -> None:
        self.netns = netns
        self.folder = folder.absolute()
        self.variables = dict(variables or {})
        """Extra environment for the daemons, in addition to the starter's."""

    @classmethod
    async def start(
        cls, netns: str, folder: Path, *, variables: Mapping[str, str] | None = None, monitor: bool = False
    ) -> Self:
        """Start a switch without bridges, in an existing namespace.

        Args:
            folder: created if needed; an existing database in it is used as it is.
            monitor: let a second ovs-vswitchd process monitor the first and restart it when it crashes.

        Raises:
            OvsFailed: a program is missing or failed; the message has its output.
        """
        node = cls(netns, folder, variables)
        longest = len(os.fsencode(node.mgmt_socket("x" * 15)))  # an interface name has at most 15 characters
        if longest > LONGEST_SOCKET_PATH:
            raise OvsFailed(f"{folder}: sockets in it would have paths of {longest} bytes: take a shorter folder")
        folder.mkdir(parents=True, exist_ok=True)
        await node.start_ovsdb()
        ovsdb = await Ovsdb.connect(node.db_socket)
        try:
            await ovsdb.set_vlan_limit(TAGS)  # before ovs-vswitchd starts, since it reads this only at its start
        finally:
            ovsdb.close()
        await node.start_vswitchd(monitor=monitor)
        return node

    @property
    def db_socket(self) -> Path:
        return self.folder / "db.sock"

    @property
    def vswitchd_control(self) -> Path:
        """The control socket of ovs-vswitchd, as drivers.unixctl takes it."""
        return self.folder / "ovs-vswitchd.ctl"

    def mgmt_socket(self, bridge: str = BRIDGE) -> Path:
        """The bridge's OpenFlow socket; Unix sockets work across network namespaces."""
        return self.folder / f"{bridge}.mgmt"

    @property
    def vswitchd_pid(self) -> int | None:
        """The pid of the switching process, not of its monitor; None if there is none."""
        return self._pid("ovs-vswitchd")

    @property
    def ovsdb_pid(self) -> int | None:
        return self._pid("ovsdb-server")

    async def ensure_bridge(self, name: str = BRIDGE) -> None:
        """Create the bridge in the userspace datapath, if needed; it drops everything until flows are installed."""
        ovsdb = await Ovsdb.connect(self.db_socket)
        try:
            await ovsdb.ensure_bridge(name, datapath_type="netdev", fail_mode="secure", protocols=PROTOCOLS)
        finally:
            ovsdb.close()

    async def start_ovsdb(self) -> None:
        database = self.folder / "conf.db"
        if not database.exists():
            await self._run("ovsdb-tool", "create", str(database))
        await self._daemon("ovsdb-server", str(database), f"--remote=punix:{self.db_socket}")

    async def start_vswitchd(self, *, monitor: bool = False) -> None:
        await self._daemon("ovs-vswitchd", f"unix:{self.db_socket}", *(["--monitor"] if monitor else []))

    async def ended(self) -> None:
        """Return as soon as one of the two daemons is not running."""
        waiting = [asyncio.ensure_future(_gone(pid)) for pid in (self.ovsdb_pid, self.vswitchd_pid) if pid is not None]
        try:
            if len(waiting) == 2:
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    async def kill_vswitchd(self) -> None:
        """Kill ovs-vswitchd without warning. Its flows and connections are lost; ports and database are not."""
        await self._kill(self.vswitchd_pid)

    async def restart_vswitchd(self) -> None:
        """Replace ovs-vswitchd by a new process, with the same ports and no flows."""
        await self._stop("ovs-vswitchd")
        await self.start_vswitchd()

    async def stop(self) -> None:
        """Stop both daemons. Can be repeated, and called from another process than the one that started them."""
        await self._stop("ovs-vswitchd")
        await self._stop("ovsdb-server")

    # ---------------------------------------------------------------------------------------------------- processes

    async def _daemon(self, program: str, *arguments: str) -> None:
        """Start the program in the namespace; it detaches once it is ready."""
        await self._run(
            *("ip", "netns", "exec", self.netns),
            program,
            *arguments,
            f"--pidfile={self.folder / program}.pid",
            f"--log-file={self.folder / program}.log",
            f"--unixctl={self.folder / program}.ctl",
            "-vconsole:off",
            "--detach",
            "--no-chdir",
        )

    async def _run(self, *words: str) -> None:
        environ = {**os.environ, **dict.fromkeys(FOLDER_VARIABLES, str(self.folder)), **self.variables}
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                env=environ,
                cwd=self.folder,  # where a daemon leaves its core if it crashes
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        except FileNotFoundError as error:
            raise OvsFailed(f"{words[0]} is not installed: run `./task system`") from error
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                printed, _ = await process.communicate()
        except TimeoutError as error:
            process.kill()
            await process.wait()
            raise OvsFailed(
                f"{' '.join(words)}: not done after {START_TIMEOUT_S:g} s: see {self.folder}/*.log"
            ) from error
        if process.returncode:
            raise OvsFailed(f"{' '.join(words)}: exit code {process.returncode}: {printed.decode().strip()}")

    async def _stop(self, program: str) -> None:
        pid = self._pid(program)
        if pid is None:
            return
        everybody = [*_watching(pid), pid]
        gone = asyncio.gather(*map(_gone, everybody))
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                with contextlib.suppress(OSError, RpcGone, CommandRefused):  # it may exit before it answers
                    await command(self.folder / f"{program}.ctl", "exit")  # its monitor exits as well
                await asyncio.shield(gone)
        except TimeoutError:
            for each in everybody:
                await self._kill(each)
            await self._kill(self._pid(program))  # what the monitor has started meanwhile
        finally:
            gone.cancel()

    async def _kill(self, pid: int | None) -> None:
        if pid is None:
            return
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await _gone(pid)

    def _pid(self, program: str) -> int | None:
        """The process in the pidfile, if it still is that program and has not ended."""
        try:
            pid = int((self.folder / f"{program}.pid").read_text())
            found = _stat(pid)
        except (OSError, ValueError):
            return None
        return pid if found.name == program and found.state != "Z" else None  # Z: a zombie, not reaped yet


class _Stat(NamedTuple):
    """What the kernel says of a process. Source: proc_pid_stat(5)."""

    name: str
    state: str
    parent: int


def _stat(pid: int) -> _Stat:
    name, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")[::2]
    state, parent = rest.split()[:2]
    return _Stat(name, state, int(parent))


def _watching(pid: int) -> list[int]:
    """The monitor of this process, which would restart it if it crashed while exiting; empty if there is none."""
    try:
        parent = _stat(pid).parent
        return [parent] if _stat(parent).name == WATCHER else []
    except OSError:
        return []


async def _gone(pid: int) -> None:
    """Return when the process has ended; it need not be a child. Source: pidfd_open(2)."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, _settle, ended)
    try:
        await ended
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
