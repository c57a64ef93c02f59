"""Turns what the engine writes into the event log for people.

The engine attaches the packet of each denial to its alert, because it cannot keep only that packet: its tags begin with
the packet after. Here an alert loses the packet; if the rule set is logged, the packet becomes an event of its own,
`packet`, right after the alert, as in Antrea.

Source: Suricata user guide, "Eve JSON Format"; docs "Antrea Layer 7 NetworkPolicy", "Logs".
"""

from collections.abc import Iterator
from typing import Any

from msgspec import DecodeError, json

LOGGED = "sluice"
"""Metadata key, and its value, of the rules of a rule set whose denials are logged."""

ALERT = b'"event_type":"alert"'
"""Occurs in alerts and in no other lines: quotes within strings are escaped."""

HEAD = (
    *("timestamp", "flow_id", "in_iface", "event_type", "vlan", "src_ip", "src_port", "dest_ip", "dest_port"),
    *("proto", "pkt_src", "tenant_id"),
)
"""Fields of a packet event about the packet, in order."""

BODY = ("packet", "packet_info")

DAY_AT = slice(len('{"timestamp":"'), len('{"timestamp":"2026-11-27'))
"""Position of the date in a line, which begins with its timestamp."""


def told(line: bytes) -> Iterator[bytes]:
    """The log lines for one line of the engine, without line ends."""
    if ALERT not in line:
        yield line
        return
    try:
        event: dict[str, Any] = json.decode(line)
        alert: dict[str, Any] = event["alert"]
    except (DecodeError, KeyError):
        yield line  # its reader counts it
        return
    kept = {name: event.pop(name) for name in BODY if name in event}
    logged = LOGGED in alert.pop("metadata", {})
    yield json.encode(event)
    if logged and kept:
        head = {name: event[name] for name in HEAD if name in event}
        yield json.encode({**head, "event_type": "packet", **kept})


def day(line: bytes) -> str:
    """Date of the event by the engine's clock, YEAR-MONTH-DAY; empty if the line has none."""
    text = line[DAY_AT].decode(errors="replace")
    return text if len(text) == 10 and text.replace("-", "").isdecimal() else ""
