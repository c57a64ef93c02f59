"""deploy/k8s as `kubectl apply -k` would send it."""

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
OVERLAYS = ("small", "ha")


@cache
def built(overlay: str) -> tuple[dict[str, Any], ...]:
    folder = ROOT / "deploy" / "k8s" / overlay
    made = subprocess.run(["kubectl", "kustomize", folder], check=True, capture_output=True, text=True, timeout=60)
    return tuple(yaml.safe_load_all(made.stdout))


def of(overlay: str, *kinds: str) -> list[dict[str, Any]]:
    return [each for each in built(overlay) if each["kind"] in kinds]


def name(one: dict[str, Any]) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"


def workloads(overlay: str) -> list[dict[str, Any]]:
    return of(overlay, "Deployment", "DaemonSet", "StatefulSet")


def containers(overlay: str) -> list[tuple[str, dict[str, Any]]]:
    """Each container of each workload, with the workload's name."""
    return [(name(one), each) for one in workloads(overlay) for each in one["spec"]["template"]["spec"]["containers"]]


def filled_in(text: str) -> str:
    """The value of a variable, as a kubelet fills Services in."""
    return re.sub(r"\$\(\w+_SERVICE_PORT\)", "443", re.sub(r"\$\(\w+_SERVICE_HOST\)", "10.96.0.1", text))


overlays = pytest.mark.parametrize("overlay", [f"overlays/{each}" for each in OVERLAYS])
