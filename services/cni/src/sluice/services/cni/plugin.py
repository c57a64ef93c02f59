"""The CNI plugin: forwards the request to the daemon, and prints its response.

It is copied to the host and needs only Python's standard library. Output and exit code are as in the CNI specification,
"Section 2: Execution Protocol".
"""

import contextlib
import json
import os
import socket
import sys
import time

SOCKET = "/run/sluice/cni.sock"
"""In the installed copy this is the daemon's configured path."""

VERSIONS = ("0.4.0", "1.0.0", "1.1.0")
WAIT_S = 10.0
"""How long to wait for a daemon that is being replaced. After that the runtime retries."""

ANSWER_S = 60.0
"""Timeout of the response; a kubelet waits for two minutes."""

BUSY = 11
"""Try again later. Source: SPEC.md, "Error"."""


def failed(code: int, message: str) -> tuple[int, str]:
    return 1, json.dumps({"cniVersion": VERSIONS[-1], "code": code, "msg": message, "details": ""})


def ask(request: bytes, deadline: float) -> bytes:
    """The daemon's response; OSError if there is none."""
    with socket.socket(socket.AF_UNIX) as daemon:
        while True:
            try:
                daemon.connect(SOCKET)
                break
            except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        daemon.settimeout(ANSWER_S)
        daemon.sendall(request)
        daemon.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: daemon.recv(1 << 16), b""))


def main() -> tuple[int, str]:
    """Return the exit code and the output."""
    if os.environ.get("CNI_COMMAND") == "VERSION":
        return 0, json.dumps({"cniVersion": VERSIONS[-1], "supportedVersions": VERSIONS})
    given = {name: text for name, text in os.environ.items() if name.startswith("CNI_")}
    request = json.dumps({"variables": given, "stdin": sys.stdin.read()}).encode()
    try:
        answer = json.loads(ask(request, time.monotonic() + WAIT_S))
        return answer["exit"], answer["out"]
    except (OSError, ValueError) as error:
        return failed(
            BUSY, f"sluice's cni daemon at {SOCKET} does not answer ({error}): is its Pod on this node running?"
        )


if __name__ == "__main__":
    code, text = main()
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)  # noqa: T201  # read by the runtime
    sys.exit(code)
