"""What a command shows of itself to a bus that is not a lab's."""

from pathlib import Path

import pytest

from sluice.cli import onbus
from sluice.contracts.identities import OPERATOR


def test_the_environment_names_keys_and_whose_certificate_is_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLUICE_NATS_KEYS", str(tmp_path))
    assert onbus._credentials("tls://127.0.0.1:4222").server_name == ""

    monkeypatch.setenv("SLUICE_NATS_SERVER_NAME", "nats.sluice-system.svc")
    found = onbus._credentials("tls://127.0.0.1:4222")

    assert (found.identity, found.folder, found.server_name) == (OPERATOR, tmp_path, "nats.sluice-system.svc")
