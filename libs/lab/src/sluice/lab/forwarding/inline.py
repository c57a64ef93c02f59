"""Suricata between two ports: drops what its rules say, and passes everything else, even what it considers invalid.

Unlike the engine of `node-l7`, it plays the role of an intrusion prevention system installed by users: it ignores
connections that it did not see from the start.
"""

from pathlib import Path

import msgspec

from sluice.dataplane.l7.engine import HEADER, inline_pair
from sluice.lab.forwarding.order import Order


def prepare(order: Order) -> Path:
    """Write rules and configuration to the folder; returns the path where the engine will report its start."""
    folder = Path(order.folder)
    log = folder / "suricata.log"
    log.unlink(missing_ok=True)
    (folder / "rules").write_text("".join(f"{rule}\n" for rule in order.rules))
    (folder / "suricata.yaml").write_text(HEADER + msgspec.json.encode(_settings(order, log)).decode() + "\n")
    return log


def command(order: Order) -> list[str]:
    return ["suricata", "-c", f"{order.folder}/suricata.yaml", "--af-packet", "-l", order.folder]


def _settings(order: Order, log: Path) -> dict[str, object]:
    return {
        "vars": {"address-groups": {"HOME_NET": "any", "EXTERNAL_NET": "any"}},
        "default-log-dir": order.folder,
        "stats": {"enabled": False},
        "logging": {
            "default-log-level": "notice",
            "outputs": [{"file": {"enabled": True, "level": "info", "filename": str(log)}}],
        },
        "outputs": [
            {
                "eve-log": {
                    "enabled": True,
                    "filetype": "regular",
                    "filename": "eve.json",
                    "types": ["alert", "drop"],
                }
            }
        ],
        "af-packet": inline_pair(order.from_, order.to),
        "unix-command": {"enabled": False},
        "rule-files": [f"{order.folder}/rules"],
        "host-mode": "sniffer-only",
        "exception-policy": "ignore",
        "stream": {
            "inline": True,
            "midstream": True,
            "midstream-policy": "ignore",
            "drop-invalid": False,
            "checksum-validation": False,
        },
    }
