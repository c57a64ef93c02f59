"""The engine's configuration file: Suricata between two ports of the switch, one tenant per rule set.

It is JSON, which is valid YAML. The tenants and their VLANs are in the file, so that a restarted engine never passes a
packet before it has its rules: without tenants it would pass everything (measured, Suricata 7.0.10).
"""

from collections.abc import Iterable
from typing import Any

from msgspec import Struct
from msgspec.json import encode, format  # noqa: A004  # its name there

from sluice.dataplane.l7.opening import WINDOW

FIRST_VLAN, LAST_VLAN = 1, 4094
"""Source: IEEE 802.1Q, VID; 0 and 4095 are reserved. The engine silently accepts other numbers."""

_PCRE_LIMIT = 200_000
"""Steps of one match; the default, 3,500, is too low for a path of 8 KB. Beyond the limit nothing matches, which means
a denial."""

HEADER = "%YAML 1.1\n---\n"
"""Required by Suricata."""


class Engine(Struct, frozen=True, kw_only=True):
    """The paths and ports of one engine. All paths are absolute: the engine may change its working directory."""

    folder: str
    """Holds the configuration, rule files, socket, events and log."""

    tap_in: str = "antrea-l7-tap0"
    """The switch port for packets to the engine; events name it."""

    tap_out: str = "antrea-l7-tap1"
    """The switch port for packets from the engine, including resets."""

    @property
    def socket(self) -> str:
        return f"{self.folder}/command.sock"

    @property
    def events(self) -> str:
        """Folder of the event files, one per minute; later files have greater names."""
        return f"{self.folder}/events"

    @property
    def configuration(self) -> str:
        return f"{self.folder}/suricata.yaml"

    def rules(self, vlan: int) -> str:
        return f"{self.folder}/tenant-{vlan}.rules"

    def tenant(self, vlan: int) -> str:
        return f"{self.folder}/tenant-{vlan}.yaml"


def tenant_text(engine: Engine, vlan: int) -> str:
    """The tenant's own configuration: its rule files."""
    return _text({"rule-files": [engine.rules(vlan)]})


CLOSED_TENANT = LAST_VLAN + 1
"""The tenant of all VLANs that have none of their own."""


def configuration_text(engine: Engine, vlans: Iterable[int]) -> str:
    """The main configuration, with a tenant of the same number for each of these VLANs, and one for all others."""
    known = frozenset(vlans)
    assert all(FIRST_VLAN <= vlan <= LAST_VLAN for vlan in known), known
    return _text(
        {
            **_settings(engine),
            "multi-detect": {
                "enabled": True,
                "selector": "vlan",
                "loaders": 2,
                "tenants": [{"id": one, "yaml": engine.tenant(one)} for one in (*sorted(known), CLOSED_TENANT)],
                "mappings": [
                    {"vlan-id": vlan, "tenant-id": vlan if vlan in known else CLOSED_TENANT}
                    for vlan in range(LAST_VLAN, FIRST_VLAN - 1, -1)  # searched linearly for each packet, from the end
                ],
            },
        }
    )


CHECK_TEXT = HEADER + '{"logging": {"outputs": [{"console": {"enabled": true}}]}}\n'
"""Configuration for `suricata -T`, whose exit code tells whether every rule of a file was loaded."""


def _text(value: dict[str, Any]) -> str:  # Any: the values of YAML
    return f"{HEADER}{format(encode(value), indent=2).decode()}\n"


def _settings(engine: Engine) -> dict[str, Any]:
    """Each of these closes a hole or keeps connections intact; see docs/backends/l7.md."""
    return {
        "default-log-dir": engine.folder,
        "stats": {"enabled": False},
        "logging": {
            "default-log-level": "notice",
            "outputs": [{"file": {"enabled": True, "level": "notice", "filename": f"{engine.folder}/suricata.log"}}],
        },
        "outputs": [{"eve-log": _events(engine)}],
        "af-packet": inline_pair(engine.tap_in, engine.tap_out),
        "unix-command": {"enabled": True, "filename": engine.socket},
        "action-order": ["alert", "pass", "drop", "reject"],
        "vlan": {"use-for-tracking": True},
        "app-layer": {
            "error-policy": "reject",
            "protocols": {
                "http": {
                    "enabled": True,
                    "libhtp": {
                        "default-config": {
                            "personality": "IDS",
                            "request-body-limit": "4kb",
                            "response-body-limit": "4kb",
                        }
                    },
                },
                "http2": {"enabled": True},
                "tls": {"enabled": True, "ja3-fingerprints": True, "encryption-handling": "full"},
            },
        },
        "exception-policy": "drop-flow",
        "host-mode": "sniffer-only",
        "max-pending-packets": 1024,
        "flow": {"memcap": "64mb", "hash-size": 16384, "prealloc": 1000},
        "stream": {
            "memcap": "32mb",
            "inline": True,
            "drop-invalid": False,
            "midstream-policy": "reject",
            "checksum-validation": False,
            "reassembly": {
                "memcap": "64mb",
                "depth": 0,
                "toserver-chunk-size": WINDOW,
                "toclient-chunk-size": WINDOW,
                "randomize-chunk-size": False,
            },
        },
        "host": {"hash-size": 1024, "prealloc": 100, "memcap": "8mb"},
        "defrag": {"memcap": "8mb", "hash-size": 4096, "trackers": 1000, "max-frags": 4096, "prealloc": False},
        "detect": {"profile": "low"},
        "spm-algo": "bm",  # a third less work to load a tenant than with the default, Hyperscan per content
        "pcre": {"match-limit": _PCRE_LIMIT, "match-limit-recursion": _PCRE_LIMIT},
    }


def _events(engine: Engine) -> dict[str, Any]:
    """The events that the engine writes, from which `events.told` makes the log."""
    return {
        "enabled": True,
        "filetype": "regular",
        "filename": f"{engine.events}/%s.json",  # seconds since 1970
        "rotate-interval": "minute",
        "metadata": False,
        "types": [
            {"alert": {"packet": True, "tagged-packets": False, "metadata": {"rule": {"metadata": True}}}},
            {"http": {"extended": True}},
            {"tls": {"extended": True}},
        ],
    }


def inline_pair(one: str, other: str) -> list[dict[str, Any]]:
    """The `af-packet` setting of an engine that forwards packets between two interfaces, both ways."""
    return [_capture(one, other, 80), _capture(other, one, 81)]


def _capture(interface: str, other: str, cluster: int) -> dict[str, Any]:
    return {
        "interface": interface,
        "threads": 1,
        "cluster-id": cluster,
        "cluster-type": "cluster_flow",
        "defrag": False,
        "use-mmap": True,
        "tpacket-v3": False,
        "ring-size": 2048,
        "checksum-checks": False,
        "copy-mode": "ips",
        "copy-iface": other,
    }
