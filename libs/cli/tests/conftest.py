from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sluice.cli.main import main

NAMESPACES = """\
apiVersion: v1
kind: Namespace
metadata: {name: x}
---
apiVersion: v1
kind: Namespace
metadata: {name: y}
"""

PODS = """\
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: x, labels: {app: a}}
spec: {containers: [{name: c, ports: [{name: web, containerPort: 80}]}]}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: y, labels: {app: b}}
status: {podIP: 10.0.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: c, namespace: y}
"""

POLICY = """\
# Only b may talk to a, and on its web port.
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: to-a, namespace: x}
spec:
  podSelector: {matchLabels: {app: a}}
  ingress:
    - from: [{podSelector: {}}]
    - from:
        - namespaceSelector: {}
          podSelector: {matchLabels: {app: b}}
      ports: [{port: web}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two Namespaces, three Pods, and a policy that lets y/b talk to x/a."""
    made = tmp_path / "manifests"
    made.mkdir()
    (made / "namespaces.yaml").write_text(NAMESPACES)
    (made / "pods.yaml").write_text(PODS)
    (made / "policy.yaml").write_text(POLICY)
    (made / "README.md").write_text("Not a manifest.")
    return made


@pytest.fixture
def sluice() -> Callable[..., Result]:
    """`sluice` with these words; errors of our own are not swallowed."""

    def run(*words: object, stdin: str | None = None) -> Result:
        return CliRunner().invoke(main, [str(word) for word in words], input=stdin, catch_exceptions=False)

    return run
