"""The command line of multi-networkpolicy-tc's DaemonSets: flags that still apply, and flags that are ignored.

Any other flag is an error: a flag that is silently ignored is a policy that is silently not enforced.
"""

from collections.abc import Sequence
from typing import NamedTuple

SETTINGS = {
    "hostname-override": ("NODE_NAME", "NAME", "the node's name, if it is not this machine's host name"),
    "network-plugins": ("NETWORK_PLUGINS", "LIST", "types of CNI plugins to police (accelerated-bridge)"),
    "pod-rules-path": ("POD_RULES_PATH", "FOLDER", "where to write each Pod's filters, in the notation of tc(8)"),
}
"""By flag: its setting, its argument, and its purpose."""

ELSEWHERE = {
    "kubeconfig": "ingest reads the cluster; give it SLUICE_INGEST_KUBECONFIG",
    "master": "ingest reads the cluster; give it a kubeconfig that names the server",
    "tc-driver": "filters go over netlink in any case",
}
"""Flags that now concern another service, or none."""

KLOG = frozenset(
    (
        *("add_dir_header", "alsologtostderr", "log_backtrace_at", "log_dir", "log_file", "log_file_max_size"),
        *("logtostderr", "one_output", "skip_headers", "skip_log_headers", "stderrthreshold", "v", "vmodule"),
        "log-flush-frequency",
    )
)
SWITCHES = frozenset(
    ("add_dir_header", "alsologtostderr", "logtostderr", "one_output", "skip_headers", "skip_log_headers")
)
"""Flags that only take a value after "="."""


class BadFlag(ValueError):
    """The command line is invalid; the message says why and what to do."""


class Flags(NamedTuple):
    environment: dict[str, str]
    """Settings given as flags, as environment variables without the service's prefix."""

    warnings: tuple[str, ...]
    """What was ignored, and why: one line for all klog flags, and one for each other flag."""

    help: bool = False


def parse(arguments: Sequence[str]) -> Flags:
    """Parse the command line.

    Raises:
        BadFlag
    """
    environment: dict[str, str] = {}
    warnings: dict[str, None] = {}
    ignored: dict[str, None] = {}
    left = list(arguments)
    while left:
        word = left.pop(0)
        if word in ("-h", "--help"):
            return Flags({}, (), help=True)
        name, given, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or not name:
            raise BadFlag(f"{word}: node-tc takes only flags; see --help")
        known = name in SETTINGS or name in ELSEWHERE or name in KLOG
        if not known:
            raise BadFlag(f"{word}: node-tc has no such flag; see --help, and leave it out, or set SLUICE_NODE_TC_*")
        if not given and name not in SWITCHES:
            if not left:
                raise BadFlag(f"{word}: takes a value")
            value = left.pop(0)
        if name in SETTINGS:
            if value:
                environment[SETTINGS[name][0]] = value
        elif name in ELSEWHERE:
            warnings[f"--{name}: {ELSEWHERE[name]}"] = None
        else:
            ignored[name] = None
    if ignored:
        what = ", ".join(f"--{name}" for name in ignored)
        warnings[f"{what}: logs are lines of JSON on stderr; set SLUICE_NODE_TC_LOG_LEVEL"] = None
    return Flags(environment, tuple(warnings))


def usage() -> str:
    """The text that --help prints."""
    lines = ["usage: python -m sluice.services.node_tc [FLAG...]", ""]
    lines += [f"  --{name} {takes}".ljust(28) + what for name, (_, takes, what) in SETTINGS.items()]
    lines += ["", "Everything else is set by variables SLUICE_NODE_TC_*; flags win. Accepted and passed over:", ""]
    lines += [f"  --{name}".ljust(28) + why for name, why in ELSEWHERE.items()]
    lines += ["  " + ", ".join(f"--{name}" for name in sorted(KLOG))]
    return "\n".join(lines)
