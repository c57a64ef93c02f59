"""deploy/compose, started by podman-compose from a copy of the folder, so that its manifests can be changed."""

import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.images import engine

from sluice.lab.ports import free_port

WAIT_S = 240.0
"""For the whole stack to be in sync: some twenty seconds where the machine has nothing else to do."""

UNREADY = ("keys", "secrets", "status-writer", "node-tc")
"""These end, or have not what they need on this machine."""

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "none",
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "none", "user": {}}],
}
"""Of an API server that nobody runs: status-writer waits for it, and says so."""


class Stack:
    def __init__(self, podman: engine.Podman, folder: Path) -> None:
        self.podman = podman
        self.folder = folder / "compose"
        shutil.copytree(engine.ROOT / "deploy" / "compose", self.folder)
        (folder / "kubeconfig").write_text(json.dumps(KUBECONFIG))
        self.ports = {name: free_port() for name in ("API", "PROMETHEUS")}
        self._settings = {
            "SLUICE_VERSION": engine.VERSION,
            "SLUICE_KUBECONFIG": str(folder / "kubeconfig"),
            **{f"SLUICE_{name}": f"127.0.0.1:{port}" for name, port in self.ports.items()},
        }

    def up(self, images: Mapping[str, str]) -> None:
        """Everything runs that is for one machine, and says that it is in sync; node-tc in a network of its own."""
        self._compose("core,ui", "up", "--detach")
        self._compose(
            "core,ui,kubernetes,observability", "up", "--detach", "--no-recreate", "prometheus", "status-writer"
        )
        self._add_node_tc(images["node-tc"])
        self.until(self.sick, [])

    def _add_node_tc(self, image: str) -> None:
        own = {
            "NATS_URL": "tls://nats:4222",
            "NATS_KEYS": "/etc/sluice/bus",
            "NODE_NAME": "node-1",
            "STREAM_MAX_BYTES": str(256 << 20),
        }
        variables = [word for name, text in own.items() for word in ("-e", f"SLUICE_NODE_TC_{name}={text}")]
        held = ["--read-only", "--cap-drop=ALL", "--cap-add=NET_ADMIN", "--security-opt=no-new-privileges"]
        where = [f"--network={engine.PROJECT}_default", "--tmpfs=/tmp", "--tmpfs=/var/lib/sluice"]
        where += ["-v", f"{engine.PROJECT}_key-node-1:/etc/sluice/bus:ro"]
        name = self.container("node-tc")
        self.podman("run", "--detach", "--name", name, *held, *where, *variables, image)
        self.until(lambda: '"health_served"' in self.said("node-tc"), wanted=True)

    def down(self) -> None:
        self.podman("rm", "--force", "--ignore", "--time=5", self.container("node-tc"))
        self._compose("core,ui,kubernetes,observability", "down", "--volumes")

    def compose(self, *words: str) -> str:
        """As who runs it types it, with the profiles of .env."""
        return self._compose("core,ui", *words)

    def _compose(self, profiles: str, *words: str) -> str:
        # As Docker's own does, not in one Pod. The names of its containers begin with the project's.
        command = ["podman-compose", "--in-pod=false", "-p", engine.PROJECT, "-f", str(self.folder / "compose.yaml")]
        variables = {"COMPOSE_PROFILES": profiles, **self._settings}
        return self.podman.run(*command, *words, variables=variables)

    def container(self, service: str) -> str:
        return f"{engine.PROJECT}_{service}_1"

    def services(self) -> dict[str, Any]:
        """What podman knows of each container, by service."""
        names = self.podman("ps", "--all", "--format", "{{.Names}}").split()
        mine = [name for name in names if name.startswith(f"{engine.PROJECT}_")]
        return {each["Name"].split("_")[1]: each for each in self.podman.json("inspect", *mine)}

    def sick(self) -> list[str]:
        """Services that are not as they should be. Without systemd nobody asks them but us."""
        found = []
        for service, known in self.services().items():
            if service in UNREADY:
                continue
            if not known["State"]["Running"]:
                found.append(f"{service}: {known['State']['Status']}: {self.said(service)[-400:]}")
                self.podman("start", self.container(service), check=False)
                continue
            try:
                self.podman("healthcheck", "run", self.container(service))
            except AssertionError as error:
                found.append(f"{service}: {error}: {self.said(service)[-400:]}")
        return found

    def said(self, service: str) -> str:
        command = ["podman", "logs", self.container(service)]
        return self.podman.run("sh", "-c", '"$@" 2>&1', "sh", *command)

    def probe(self, source: str, to: str) -> str:
        return self.podman("exec", self.container("pods"), "sluice", "lab", "probe", source, to, check=False).strip()

    def ask(self, path: str, token: str = "") -> Any:
        """What the API answers; the code alone if it refuses."""
        return self._get(f"http://127.0.0.1:{self.ports['API']}{path}", token)

    def prometheus(self, query: str) -> list[Any]:
        quoted = urllib.request.quote(query)  # type: ignore[attr-defined]
        answer = self._get(f"http://127.0.0.1:{self.ports['PROMETHEUS']}/api/v1/query?query={quoted}")
        return list(answer["data"]["result"])

    def knocked(self, **more: str) -> str:
        """What the bus says to a client in the containers' network, where its port is open to all.

        `more` are options of nats-py, written as Python; `believed` there trusts the stack's authority.
        """
        given = {"name": "'test'", "allow_reconnect": "False", "connect_timeout": "20"}
        options = ", ".join(f"{name}={text}" for name, text in {**given, **more}.items())
        script = (
            "import asyncio, nats, ssl\n"
            "believed = ssl.create_default_context(cafile='/etc/sluice/bus/ca.crt')\n"
            "async def knock():\n"
            "    try:\n"
            f"        client = await nats.connect({options})\n"
            "        await client.flush(20)\n"
            "        print('let in')\n"
            "        await client.close()\n"
            "    except (nats.errors.Error, OSError) as error:\n"
            "        print(repr(error))\n"
            "asyncio.run(knock())\n"
        )
        return self.podman("exec", self.container("group-resolver"), "python", "-c", script).strip()

    def _get(self, url: str, token: str = "") -> Any:
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code

    def token(self) -> str:
        return self.podman("exec", self.container("query-api"), "cat", "/etc/sluice/secrets/token").strip()

    def until(self, look: Callable[[], Any], wanted: Any) -> None:
        """Wait until it looks as it should."""
        end = time.monotonic() + WAIT_S
        while (seen := look()) != wanted:
            assert time.monotonic() < end, f"after {WAIT_S:g} s: {seen}, not {wanted}"
            time.sleep(1)

    def table(self, images: dict[str, str]) -> list[str]:
        """Of each image its size, and how long its container took from its start to its first readiness to answer."""
        known = self.services()
        lines = ["", f"{'image':<16}{'size':>9}{'its own':>10}{'start':>9}"]
        shared = self.podman.json("inspect", engine.BASE)[0]["Size"]
        for target, name in images.items():
            size = self.podman.json("inspect", name)[0]["Size"]
            began = self._start_s(target, known[target]) if target in known else None
            took = f"{began:.2f} s" if began is not None else "-"
            lines.append(f"{target:<16}{size / 1e6:>6.0f} MB{(size - shared) / 1e6:>7.0f} MB{took:>9}")
        return lines

    def _start_s(self, service: str, known: Any) -> float | None:
        """From the start of the container until health is served, by what it logs."""
        for line in reversed(self.said(service).splitlines()):
            if '"health_served"' in line:
                served = datetime.fromisoformat(json.loads(line)["timestamp"])
                started = datetime.fromisoformat(known["State"]["StartedAt"][:26] + "+00:00")
                return (served - started).total_seconds()
        return None
