"""From the engine's lines to those of the event log."""

from typing import Any

import pytest
from msgspec import json

from sluice.dataplane.l7 import events

ALERT: dict[str, Any] = {
    "timestamp": "2026-11-27T11:38:29.177990+0000",
    "flow_id": 1606990026181881,
    "in_iface": "antrea-l7-tap0",
    "event_type": "alert",
    "vlan": [7],
    "src_ip": "10.9.0.1",
    "src_port": 20000,
    "dest_ip": "10.9.0.2",
    "dest_port": 80,
    "proto": "TCP",
    "pkt_src": "wire/pcap",
    "tenant_id": 7,
    "tx_id": 0,
    "alert": {"action": "blocked", "gid": 1, "signature_id": 1, "rev": 0, "metadata": {"sluice": ["sluice"]}},
    "app_proto": "http",
    "packet": "Clip",
    "packet_info": {"linktype": 1},
}
"""As Suricata 7.0.10 writes it, shortened."""


def told(event: dict[str, Any]) -> list[dict[str, Any]]:
    return [json.decode(line) for line in events.told(json.encode(event))]


def test_a_logged_denial_is_an_alert_and_its_packet():
    alert, packet = told(ALERT)

    assert {"packet", "packet_info"}.isdisjoint(alert)
    assert alert["alert"] == {"action": "blocked", "gid": 1, "signature_id": 1, "rev": 0}
    assert list(packet) == [*events.HEAD, "packet", "packet_info"]
    assert packet == {name: ALERT[name] for name in packet} | {"event_type": "packet"}


def test_without_logging_no_packet_is_kept():
    (alert,) = told({**ALERT, "alert": {"action": "blocked"}})

    assert "packet" not in alert


@pytest.mark.parametrize(
    "line",
    [
        b'{"timestamp":"2026-11-27T11:38:29.177990+0000","event_type":"http","http":{"url":"/\\"event_type\\":\\"alert\\""}}',
        b'{"timestamp":"2026-11-27T11:38:29.177990+0000","event_type":"tls"}',
        b"no JSON",
        b'{"event_type":"alert"',
        b'{"event_type":"alert"}',
    ],
)
def test_other_lines_stay_as_they_are(line: bytes):
    assert list(events.told(line)) == [line]


@pytest.mark.parametrize(
    ("line", "day"),
    [
        (json.encode(ALERT), "2026-11-27"),
        (b"no JSON", ""),
        (b'{"event_type":"alert","timestamp":"2026-11-27"}', ""),
        (b'{"timestamp":"../../../etc/x"}', ""),
    ],
)
def test_the_day_of_a_line(line: bytes, day: str):
    assert events.day(line) == day
