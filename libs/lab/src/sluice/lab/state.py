"""The public state of a running lab (`state.json` in its folder): its Pods and nodes, and how to reach them."""

from pathlib import Path

import msgspec
from msgspec import Struct

from sluice.lab import claim

FILE = "state.json"


class NoLab(LookupError):
    """There is no such lab, or no such Pod in it. The message says what to do."""


class PodState(Struct, frozen=True, kw_only=True):
    pod: str
    """namespace/name"""

    node: str
    netns: str
    """Its name for `ip netns`; the node's for a Pod on the host's network."""

    addresses: tuple[str, ...]
    ports: tuple[int, ...]
    open: bool
    """The switch lets its packets in, as far as policy allows."""

    prober: str = ""
    """The socket of its prober, which sends and answers packets."""


class NodeState(Struct, frozen=True, kw_only=True):
    node: str
    netns: str
    ovs: str
    """Folder of the switch's sockets and logs."""

    healthy: bool
    applied: int
    """Sequence in OBJECTS; 0 if nothing has been applied yet."""

    problems: tuple[str, ...]
    """Of node-ovs, and of node-l7 if it runs."""

    rule_sets: int | None = None
    """Number of rule sets in force in the inspection engine; unset if none runs because no policy needs it."""


class LabState(Struct, frozen=True, kw_only=True):
    name: str
    pid: int
    folder: str
    nats_url: str
    nats_keys: str = ""
    """Folder of the operator's keys; empty if the bus has no identities."""

    manifests: str
    api_url: str = ""
    """URL of its API; empty if none runs."""

    nodes: tuple[NodeState, ...]
    pods: tuple[PodState, ...]
    restarts: dict[str, int]
    """Number of restarts, only of what had to be restarted."""


def write(state: LabState) -> None:
    """Replace the state atomically."""
    path = Path(state.folder) / FILE
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=2))
    new.replace(path)


def read(name: str | None = None) -> LabState:
    """The state of the lab with this name; if None, of the only one that is running.

    Raises:
        NoLab: there is none, or there are several to choose from.
    """
    running = [owner.name for owner in claim.owners()]
    if name is None:
        if len(running) != 1:
            several = f"several labs run ({', '.join(running)}): say which by --name"
            raise NoLab(several if running else "no lab runs: start one by `sluice lab up`")
        (name,) = running
    try:
        return msgspec.json.decode((claim.root() / name / FILE).read_bytes(), type=LabState)
    except FileNotFoundError:
        pass
    known = f"these run: {', '.join(running)}" if running else "none runs: start one by `sluice lab up`"
    raise NoLab(f"lab {name}: it does not run, or has not started yet; {known}")


def pod(state: LabState, name: str) -> PodState:
    """The Pod of this namespace/name; `default/` may be omitted.

    Raises:
        NoLab: there is no such Pod.
    """
    wanted = name if "/" in name else f"default/{name}"
    for each in state.pods:
        if each.pod == wanted:
            return each
    known = ", ".join(each.pod for each in state.pods) or "there are none"
    raise NoLab(f"{wanted}: no such Pod in lab {state.name}: {known}")
