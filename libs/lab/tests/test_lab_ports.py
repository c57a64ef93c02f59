"""Ports that are told before they are listened on."""

import socket

import pytest

from sluice.lab import ports


def test_what_is_given_is_free_and_no_kernel_chooses_it() -> None:
    port = ports.free_port()

    assert port in ports.PORTS
    assert ports.PORTS[-1] < 30_000  # NodePorts, and behind them what kernels choose


def test_what_is_taken_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        monkeypatch.setattr(ports, "PORTS", range(number, number + 1))

        with pytest.raises(OSError, match=f"from {number} to {number} that were tried are taken"):
            ports.free_port()
