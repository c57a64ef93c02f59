"""Commands to a running Open vSwitch daemon through its control socket: ovs-appctl without the process.

Source: ovs-appctl(8); the socket speaks JSON-RPC, the method is the command, the parameters are its arguments.
"""

from pathlib import Path

from sluice.drivers.jsonrpc import CALL_TIMEOUT_S, JsonRpc, RpcRefused


class CommandRefused(Exception):
    """The daemon refused the command, or the command failed."""


async def command(socket: Path, name: str, *arguments: str, timeout_s: float = CALL_TIMEOUT_S) -> str:
    """Run a command and return its output.

    Raises:
        CommandRefused: the daemon does not know the command, or it failed.
        OSError, RpcGone: no daemon listens at the socket, or it did not answer in time.
    """
    rpc = await JsonRpc.connect(socket, timeout_s=timeout_s)
    try:
        printed = await rpc.call(name, list(arguments), timeout_s=timeout_s)
    except RpcRefused as refused:
        told = " ".join((name, *arguments))
        raise CommandRefused(f"{socket}: `{told}` was refused: {str(refused.error).strip()}") from refused
    finally:
        rpc.close()
    return str(printed)


def control_socket(run_dir: Path) -> Path:
    """The control socket of ovs-vswitchd: a fixed name, or by default one that contains its pid.

    Raises:
        FileNotFoundError: it is not running.
    """
    fixed = run_dir / "ovs-vswitchd.ctl"
    if fixed.exists():
        return fixed
    pid = (run_dir / "ovs-vswitchd.pid").read_text().strip()
    return run_dir / f"ovs-vswitchd.{pid}.ctl"
