"""The stack of deploy/compose comes up, lets a policy in, refuses a packet, and leaves nothing."""

import json
import os
import re
import shutil
from typing import Any

import pytest
import yaml
from tests.images import engine
from tests.images.stack import Stack

from sluice.drivers.tc.capabilities import probe
from sluice.drivers.tc.errors import KernelTooOld

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist_group("images")]

COMPOSE = engine.ROOT / "deploy" / "compose"
OBSERVABILITY = COMPOSE / "observability"

ENCRYPTED = {"servers": "'tls://nats:4222'", "tls": "believed"}
"""How the bus of the stack is to be spoken to: options of nats-py."""

OWN_KEY = "'/etc/sluice/bus/seed'"
"""Of the service from whose container one knocks, as it is now."""


def test_packets_are_refused_as_a_policy_says(stack: Stack):
    assert stack.probe("shop/till", "shop/web") == "Allowed"
    assert stack.probe("street/stranger", "shop/web") == "Allowed"

    shutil.copy(stack.folder / "only-tills.yaml", stack.folder / "manifests")

    stack.until(lambda: stack.probe("street/stranger", "shop/web"), "Dropped")
    assert stack.probe("shop/till", "shop/web") == "Allowed"
    verdict = stack.ask("/v1/verdicts?from=street/stranger&to=shop/web&port=80", stack.token())
    assert verdict["verdict"]["outcome"] == "Dropped"

    (stack.folder / "manifests" / "only-tills.yaml").unlink()

    stack.until(lambda: stack.probe("street/stranger", "shop/web"), "Allowed")


def test_the_api_answers_nobody_without_a_token(stack: Stack):
    assert stack.ask("/v1/policies") == 401


def test_the_bus_lets_in_who_has_a_key(stack: Stack):
    """With TLS, and without."""
    assert stack.knocked(**ENCRYPTED, nkeys_seed=OWN_KEY) == "let in"
    assert "Authorization Violation" in stack.knocked(**ENCRYPTED)
    assert stack.knocked(servers="'nats://nats:4222'") != "let in"


def test_a_service_reads_its_own_key_alone(stack: Stack):
    """And may: some are root, who has no capability to read what is not his, and some are not."""
    seeds = {
        name: stack.podman("exec", stack.container(name), "sha256sum", "/etc/sluice/bus/seed").split()[0]
        for name in (
            "ingest",
            "admission",
            "group-resolver",
            "rule-compiler",
            "query-api",
            "node-ovs",
            "node-l7",
            "pods",
        )
    }
    kept = stack.podman("exec", stack.container("nats"), "ls", "/etc/sluice/keyring").split()

    assert seeds.pop("node-l7") == seeds["node-ovs"]  # both are node-1's
    assert len(set(seeds.values())) == len(seeds)
    assert kept == ["server"]


def test_keys_are_rotated_while_the_stack_runs(stack: Stack):
    """By the words of deploy/compose/README.md: a policy stays in force, services come back, the old key is refused."""

    def seen() -> tuple[str, str]:
        return stack.probe("street/stranger", "shop/web"), stack.probe("shop/till", "shop/web")

    def knocked(key: str) -> str:
        return stack.knocked(**ENCRYPTED, **{"nkeys_seed" if key == OWN_KEY else "nkeys_seed_str": key})

    def restart_the_bus() -> None:
        stack.compose("stop", "nats")
        assert seen() == ("Dropped", "Allowed")
        stack.compose("start", "nats")
        stack.until(lambda: knocked(OWN_KEY), "let in")

    shutil.copy(stack.folder / "only-tills.yaml", stack.folder / "manifests")
    stack.until(seen, ("Dropped", "Allowed"))
    read = "print(repr(open('/etc/sluice/bus/seed').read().strip()))"
    old = stack.podman("exec", stack.container("group-resolver"), "python", "-c", read).strip()

    stack.compose("run", "--rm", "keys", "rotate", "--all")
    restart_the_bus()
    assert knocked(old) == "let in"
    stack.compose("run", "--rm", "keys", "retire", "--older-than", "0")
    restart_the_bus()

    assert "Authorization Violation" in knocked(old)
    (stack.folder / "manifests" / "only-tills.yaml").unlink()
    stack.until(seen, ("Allowed", "Allowed"))
    stack.until(stack.sick, [])


def test_who_asks_from_the_lab_node_is_the_operator(stack: Stack):
    assert "no faults" in stack.podman("exec", stack.container("pods"), "sluice", "ledger", "verify")


def test_node_tc_says_what_this_kernel_lacks_or_runs(stack: Stack):
    """There are kernels without act_ct; then it ends, with the reason, as the driver here finds it."""
    try:
        probe(os.uname().release)
        lacking = ""
    except KernelTooOld as error:
        lacking = str(error)

    stack.until(lambda: stack.services()["node-tc"]["State"]["Running"], not lacking)

    assert lacking in stack.said("node-tc")
    assert stack.services()["node-tc"]["State"]["ExitCode"] == (1 if lacking else 0)


def test_nobody_is_root_for_nothing(stack: Stack):
    """Read-only, nothing but the capabilities that the page says, and the network of the host for nobody."""
    services = stack.services()
    privileged = {name for name, known in services.items() if known["HostConfig"]["Privileged"]}
    writable = {name for name, known in services.items() if not known["HostConfig"]["ReadonlyRootfs"]}
    capable = {
        name: sorted(each.removeprefix("CAP_") for each in known["EffectiveCaps"] or [])
        for name, known in services.items()
        if name not in privileged
    }

    assert privileged == {"pods"}
    assert writable == set()
    assert {name for name, held in capable.items() if held} == {"switch", "node-l7", "node-host", "node-tc"}
    assert capable["node-host"] == capable["node-tc"] == ["NET_ADMIN"]
    assert capable["switch"] == capable["node-l7"] == ["NET_ADMIN", "NET_RAW"]
    assert not [name for name, known in services.items() if known["HostConfig"]["NetworkMode"] == "host"]


def test_prometheus_reaches_every_service(stack: Stack):
    wanted = {target["labels"]["service"] for target in targets()}

    stack.until(lambda: {each["metric"]["service"] for each in stack.prometheus('up{job="sluice"} == 1')}, wanted)


def test_dashboard_and_alerts_speak_of_metrics_that_exist(stack: Stack, images: dict[str, str]):
    exported = {name for service, port in served().items() for name in metrics(stack, service, port)}
    exported |= declared(stack, images["node-tc"], "node_tc")
    used = {name for text in expressions() for name in re.findall(r"\bsluice_\w+", text)}

    assert len(used) > 20
    assert sorted(used - exported) == []
    for text in expressions():
        assert isinstance(stack.prometheus(text), list), text


def test_the_command_line_is_an_image(stack: Stack, images: dict[str, str]):
    assert "sluice" in stack.podman("run", "--rm", "--network=none", "--read-only", images["cli"], "--version")


def test_alerts_are_rules(podman: engine.Podman, images: dict[str, str]):
    where = f"{OBSERVABILITY}:/observability:ro"
    command = ["run", "--rm", "--network=none", "--entrypoint=promtool", "-v", where, engine.PROMETHEUS]

    assert "SUCCESS" in podman(*command, "check", "config", "/observability/prometheus.yml")


def test_nothing_is_left(stack: Stack):
    """Last: it ends the stack."""
    assert stack.podman.remains()["volumes"]

    stack.down()

    assert stack.podman.remains() == {"containers": [], "volumes": [], "networks": []}


def targets() -> list[Any]:
    return list(yaml.safe_load((OBSERVABILITY / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"])


def served() -> dict[str, int]:
    """The port of each service's metrics; those of other profiles, too."""
    ports = {each["labels"]["service"]: int(each["targets"][0].rpartition(":")[2]) for each in targets()}
    return ports | {"status-writer": 9400}


def metrics(stack: Stack, service: str, port: int) -> set[str]:
    asked = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}/metrics').read().decode())"
    text = stack.podman("exec", stack.container(service), "python", "-c", asked)
    return set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))


def declared(stack: Stack, image: str, module: str) -> set[str]:
    """What a service would export that ends at once on a kernel like this one."""
    said = f"import sluice.services.{module}.app; from sluice.runtime.metrics import METRICS; print(METRICS.text())"
    text = stack.podman("run", "--rm", "--network=none", "--entrypoint=python", image, "-c", said)
    return set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))


def expressions() -> list[str]:
    dashboard = json.loads((OBSERVABILITY / "dashboards" / "sluice.json").read_text())
    rules = yaml.safe_load((OBSERVABILITY / "alerts.yml").read_text())["groups"][0]["rules"]
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    return shown + [rule["expr"] for rule in rules]
