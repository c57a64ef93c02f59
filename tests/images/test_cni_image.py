"""The image of cni, run as deploy/k8s does: what it installs plugs Pods of this machine into the switch's image."""

import json
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml
from tests.images import engine

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(900), pytest.mark.xdist_group("images")]

DAEMON_SET = engine.ROOT / "deploy" / "k8s" / "base" / "node" / "daemonset.yaml"
NAME = f"{engine.PROJECT}-cni"
WAIT_S = 120.0
NOTHING: Mapping[str, str] = MappingProxyType({})


class Host:
    """A node: the container of cni, that of its switch in the same network, and what the container runtime does."""

    def __init__(self, podman: engine.Podman, images: Mapping[str, str], folder: Path) -> None:
        self.podman, self._images, self.folder = podman, images, folder
        self.daemon, self.switch = f"{NAME}-daemon", f"{NAME}-switch"
        self.spaces: list[str] = []

    def start(self) -> None:
        """The daemon runs, with the mounts, capabilities and variables of the DaemonSet, in a network of its own."""
        spec = yaml.safe_load(DAEMON_SET.read_text())["spec"]["template"]["spec"]
        (own,) = [each for each in spec["containers"] if each["name"] == "cni"]
        paths = {each["name"]: each["hostPath"]["path"] for each in spec["volumes"] if "hostPath" in each}
        words = ["--read-only"] if own["securityContext"]["readOnlyRootFilesystem"] else []
        words += [f"--cap-drop={each}" for each in own["securityContext"]["capabilities"]["drop"]]
        words += [f"--cap-add={each}" for each in own["securityContext"]["capabilities"]["add"]]
        for mount in own["volumeMounts"]:
            if mount["name"] not in paths:
                words.append(f"--tmpfs={mount['mountPath']}")
            elif mount["name"] in ("netns", "sysctl"):  # the machine's own
                slave = ":rslave" if mount.get("mountPropagation") == "HostToContainer" else ""
                words += ["-v", f"{paths[mount['name']]}:{mount['mountPath']}{slave}"]
            else:
                words += ["-v", f"{self._there(mount['name'])}:{mount['mountPath']}"]
        # The plugin on the host asks where the daemon listens, and this machine's own /run/sluice is not ours.
        words += ["-v", f"{self._there('run')}:{self._there('run')}"]
        given = {each["name"]: each["value"] for each in own["env"] if "value" in each}
        given |= {
            "SLUICE_CNI_NODE_NAME": "node-1",
            "SLUICE_CNI_POD_CIDRS": "10.64.0.0/24,fd00:64::/64",  # there is no API server to ask
            "SLUICE_CNI_DATAPATH": "netdev",  # nor the kernel's module
            "SLUICE_CNI_SOCKET": str(self._there("run") / "cni.sock"),
        }
        words += [word for name, text in given.items() for word in ("-e", f"{name}={text}")]
        words += ["--security-opt=no-new-privileges", "--network=none"]
        self.podman("run", "--detach", "--name", self.daemon, *words, self._images["cni"])

    def start_switch(self) -> None:
        held = ["--cap-drop=ALL", "--cap-add=NET_ADMIN", "--cap-add=NET_RAW", "--security-opt=no-new-privileges"]
        where = [f"--network=container:{self.daemon}", "--device=/dev/net/tun", "--read-only", "--tmpfs=/tmp"]
        where += ["--tmpfs=/var/lib/openvswitch", "-v", f"{self._there('openvswitch')}:/run/openvswitch"]
        self.podman("run", "--detach", "--name", self.switch, *held, *where, self._images["openvswitch"])

    def _there(self, volume: str) -> Path:
        """The folder that stands for the host's."""
        path = self.folder / volume
        path.mkdir(exist_ok=True)
        return path

    def ask(self, command: str, pod: str, **more: Any) -> tuple[int, Any]:
        """Exit code and answer of the plugin on the host, which has no Python to offer."""
        conf = json.loads((self._there("cni-conf") / "10-sluice.conflist").read_text())
        given = {"cniVersion": conf["cniVersion"], "name": conf["name"], **conf["plugins"][0], **more}
        variables = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": f"c-{pod}",
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": f"/run/netns/{self.space(pod)}",
            "CNI_PATH": str(self._there("cni-bin")),
            "CNI_ARGS": f"K8S_POD_NAMESPACE=x;K8S_POD_NAME={pod};K8S_POD_UID=u-{pod}",
            "PATH": "",
        }
        program = self._there("cni-bin") / conf["plugins"][0]["type"]
        done = subprocess.run(
            [program],
            env=variables,
            input=json.dumps(given),
            check=False,
            capture_output=True,
            text=True,
            timeout=WAIT_S,
        )
        assert done.stdout or done.returncode == 0, done.stderr
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None

    def add_space(self, pod: str) -> str:
        """The network namespace that the container runtime makes before it asks."""
        subprocess.run(["ip", "netns", "add", self.space(pod)], check=True)
        self.spaces.append(self.space(pod))
        return self.space(pod)

    def space(self, pod: str) -> str:
        return f"{NAME}-{os.getpid()}-{pod}"

    def ready(self) -> str:
        """What the daemon lacks; empty if it is ready."""
        command = ["podman", "exec", self.daemon, "healthy"]
        return self.podman.run("sh", "-c", '"$@" 2>&1 || true', "sh", *command).strip().removesuffix("ready")

    def installed(self) -> bool:
        return (self._there("cni-conf") / "10-sluice.conflist").exists()

    def said(self, name: str) -> str:
        return self.podman.run("sh", "-c", 'podman logs "$1" 2>&1', "sh", name)

    def until(self, what: Any, why: str) -> None:
        end = time.monotonic() + WAIT_S
        while not what():
            assert time.monotonic() < end, f"not {why} after {WAIT_S:g} s: {self.said(self.daemon)[-2000:]}"
            time.sleep(0.2)

    def end(self) -> None:
        for name in (self.switch, self.daemon):  # in this order: the one is in the network of the other
            self.podman("rm", "--force", "--ignore", "--time=5", name)
        for name in self.spaces:
            subprocess.run(["ip", "netns", "delete", name], check=True)


@pytest.fixture
def host(podman: engine.Podman, images: Mapping[str, str], tmp_path: Path) -> Iterator[Host]:
    found = Host(podman, images, tmp_path)
    try:
        yield found
    finally:
        found.end()


def test_pods_are_plugged_in_where_the_switch_runs_and_refused_where_it_does_not(host: Host) -> None:
    host.start()
    host.until(lambda: "switch_awaited" in host.said(host.daemon), "waiting for a switch")
    assert "bridge" in host.ready()
    assert not host.installed()  # a kubelet that found it would take the node for ready

    host.start_switch()
    host.until(host.installed, "installed")
    host.until(lambda: not host.ready(), "ready")
    space = host.add_space("a")  # after the daemon: it sees what the host mounts later
    code, said = host.ask("ADD", "a")

    assert code == 0, said
    assert [each["address"] for each in said["ips"]] == ["10.64.0.2/32", "fd00:64::2/128"]
    shown = subprocess.run(
        ["ip", "-n", space, "-j", "addr", "show", "eth0"], check=True, capture_output=True, text=True
    )
    assert "10.64.0.2" in {each["local"] for each in json.loads(shown.stdout)[0]["addr_info"]}
    ids = host.podman(
        "exec", host.switch, "ovs-vsctl", "get", "Interface", said["interfaces"][0]["name"], "external_ids"
    )
    assert "sluice.pod=x/a" in ids.replace('"', "")
    assert host.ask("CHECK", "a", prevResult=said) == (0, None)

    host.podman("stop", "--time=5", host.switch)
    host.add_space("b")
    code, said = host.ask("ADD", "b")
    assert (code, said["code"]) == (1, 11)  # try again later
    assert "is Open vSwitch running?" in said["msg"]
    assert "is Open vSwitch running?" in host.ready()
