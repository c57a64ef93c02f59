"""What comes first in a cluster: before these run no Pod has a network and no name an address. So they need neither."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from tests.deploy.built import ROOT, containers, filled_in, name, of, overlays, workloads

from sluice.contracts.programs import Direction
from sluice.dataplane.protocols import IpProto
from sluice.drivers.namespaces import inside
from sluice.runtime.service import prefix
from sluice.runtime.settings import load
from sluice.services.node_host.settings import NodeHostSettings

FIRST = {"StatefulSet/nats", "Deployment/ingest", "Deployment/group-resolver", "Deployment/rule-compiler"}
"""Without these nobody knows of a Pod, and its port stays closed."""

ON_NODES = "DaemonSet/node"
KNOWN_AS = "nats.sluice-system.svc"
"""The name that the server's certificate is made for: deploy/k8s/README.md."""

GENEVE = 6081
"""Of tunnels between nodes, which their stacks see as UDP. Source: RFC 8926 section 3.3."""

WAIT_S = 120.0


def pod(one: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = one["spec"]["template"]["spec"]
    return spec


def variables(container: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["value"] for each in container.get("env", ()) if "value" in each}


@overlays
def test_they_are_in_the_network_of_their_node(overlay: str) -> None:
    there = {name(one) for one in workloads(overlay) if pod(one).get("hostNetwork")}

    assert there == FIRST | {ON_NODES}


@overlays
def test_the_bus_is_found_without_dns_and_held_to_its_name(overlay: str) -> None:
    [service] = [one for one in of(overlay, "Service") if one["metadata"]["name"] == "nats"]
    assert service["spec"].get("clusterIP") is None  # an address, which kubelets put into NATS_SERVICE_HOST
    [port] = service["spec"]["ports"]
    found = {}
    for _, each in containers(overlay):
        given = variables(each)
        if url := given.get(prefix(each["name"]) + "NATS_URL"):
            found[each["name"]] = (url, given.get(prefix(each["name"]) + "NATS_SERVER_NAME"))

    assert set(found.values()) == {(f"tls://$(NATS_SERVICE_HOST):{port['port']}", KNOWN_AS)}
    assert len(found) == len(list(ROOT.glob("services/*/pyproject.toml"))) - 1  # cni needs no bus
    assert f"--server {KNOWN_AS} " in (ROOT / "deploy" / "k8s" / "README.md").read_text()


@overlays
def test_what_shares_a_node_shares_no_port_and_is_asked_on_loopback(overlay: str) -> None:
    taken: list[int] = []
    for one in workloads(overlay):
        if not pod(one).get("hostNetwork"):
            continue
        for each in pod(one)["containers"]:
            asked = [each[f"{kind}Probe"]["httpGet"] for kind in ("liveness", "readiness", "startup")]
            assert {get["host"] for get in asked} == {"127.0.0.1"}, each["name"]
            given = variables(each)
            assert prefix(each["name"]) + "HEALTH_HOST" not in given, each["name"]
            own = {get["port"] for get in asked} | {port["containerPort"] for port in each.get("ports", ())}
            if (health := given.get(prefix(each["name"]) + "HEALTH_PORT")) is not None:
                assert int(health) in own, each["name"]
            taken += own
        if one["kind"] == "Deployment":  # a second one beside the first could not be
            assert one["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 1, "maxSurge": 0}, name(one)

    assert len(set(taken)) == len(taken) > len(FIRST)


@overlays
def test_policies_on_nodes_do_not_end_the_cluster(overlay: str) -> None:
    """Whatever they say, it is reached: the bus, its servers, the API server and etcd, kubelets, tunnels."""
    [own] = [each for where, each in containers(overlay) if each["name"] == "node-host"]
    filled = {variable: filled_in(text) for variable, text in variables(own).items()}
    settings = load(NodeHostSettings, prefix("node-host"), {**filled, "SLUICE_NODE_HOST_NODE_NAME": "node-1"})
    open_ = {way: [each for each in settings.fixed if each.direction is way] for way in Direction}
    [bus] = [each for where, each in containers(overlay) if where == "StatefulSet/nats"]

    def kept(way: Direction, protocol: int, port: int) -> bool:
        """For everybody."""
        found = [each for each in open_[way] if each.protocol == protocol and each.first <= port <= each.last]
        return any(each.peer is None for each in found)

    for port in bus["ports"]:
        assert kept(Direction.INGRESS, IpProto.TCP, port["containerPort"]), port
    for way in Direction:
        assert kept(way, IpProto.UDP, GENEVE)
        assert all(kept(way, IpProto.TCP, port) for port in (6443, 2379, 2380, 6222))
    assert kept(Direction.INGRESS, IpProto.TCP, 10250)
    api_server = [each for each in open_[Direction.EGRESS] if each.peer and each.peer.text.startswith("10.96.0.1")]
    assert [each.first for each in api_server] == [443]


def arguments(overlay: str) -> list[str]:
    [each] = [each for where, each in containers(overlay) if where == "StatefulSet/nats"]
    words: list[str] = each["args"]
    return words


def test_one_server_has_no_routes() -> None:
    assert arguments("overlays/small") == ["--config=/etc/nats/nats.conf"]
    assert {one["metadata"]["name"] for one in of("overlays/small", "Service")} & {
        "nats-0",
        "nats-1",
        "nats-2",
    } == set()


@pytest.fixture
def netns() -> Iterator[str]:
    """A network of its own, with loopback and without DNS."""
    made = f"sluice-first-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", made], check=True)
    subprocess.run(["ip", "-n", made, "link", "set", "lo", "up"], check=True)
    try:
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", made], check=True)


@pytest.mark.datapath
def test_three_servers_find_each_other_without_dns(netns: str, tmp_path: Path) -> None:
    """By the manifest's own arguments and configuration, with keys that the command of README.md makes."""
    bin_ = Path(sys.executable).parent
    servers = ("--server", KNOWN_AS, "--server", "*.nats-peers.sluice-system.svc")
    ring = tmp_path / "keys"
    subprocess.run([bin_ / "sluice", "admin", "keys", "create", "--keyring", ring, *servers], check=True)
    [conf] = [one["data"]["nats.conf"] for one in of("overlays/ha", "ConfigMap") if "nats.conf" in one["data"]]
    hosts = {f"NATS_{number}_SERVICE_HOST": f"127.0.0.{number + 1}" for number in range(3)}
    said = re.sub(r"\$\((\w+)\)", lambda found: hosts[found[1]], " ".join(arguments("overlays/ha")))
    running = []
    try:
        for number, host in enumerate(hosts.values()):
            folder = tmp_path / f"nats-{number}"
            folder.mkdir()
            (folder / "bus").symlink_to(ring / "server")
            own = conf.replace("/etc/nats/bus", str(ring / "server")).replace("/data", str(folder / "data"))
            own = own.replace("0.0.0.0", host).replace("127.0.0.1:8222", f"{host}:8222")
            (folder / "nats.conf").write_text(own.replace("/tmp/nats.pid", str(folder / "nats.pid")))
            words = said.replace("/etc/nats/nats.conf", str(folder / "nats.conf")).split()
            server = ("ip", "netns", "exec", netns, str(bin_ / "nats-server"))
            running.append(
                subprocess.Popen(
                    [*server, *words, "-l", str(folder / "log")], env=os.environ | {"POD_NAME": f"nats-{number}"}
                )
            )

        for number, host in enumerate(hosts.values()):
            others = {f"nats-{other}" for other in range(3)} - {f"nats-{number}"}
            end = time.monotonic() + WAIT_S
            while (seen := peers(netns, host)) != others:
                assert running[number].poll() is None, (tmp_path / f"nats-{number}" / "log").read_text()
                assert time.monotonic() < end, f"nats-{number} sees {seen}"
                time.sleep(0.2)
    finally:
        for each in running:
            each.kill()
            each.wait()


def peers(netns: str, host: str) -> set[str]:
    """Which servers this one has routes to, as it says itself."""

    def ask() -> set[str]:
        with urlopen(f"http://{host}:8222/routez", timeout=10) as answer:
            return {each["remote_name"] for each in json.loads(answer.read()).get("routes") or ()}

    try:
        return inside(Path("/run/netns") / netns, ask)
    except OSError:
        return set()  # it does not listen yet
