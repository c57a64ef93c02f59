"""What others may know of a lab that runs (`state.json` in its folder): who is where, and how to reach it."""

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
    """As `ip netns` calls it; the node's for a Pod on the host's network."""

    addresses: tuple[str, ...]
    ports: tuple[int, ...]
    open: bool
    """The switch lets its packets in, as far as policy does."""

    prober: str = ""
    """The socket of the process in it that sends and answers packets."""


class NodeState(Struct, frozen=True, kw_only=True):
    node: str
    netns: str
    ovs: str
    """Folder of the switch's sockets and logs."""

    healthy: bool
    applied: int
    """Sequence in OBJECTS; 0 while nothing is applied."""

    problems: tuple[str, ...]
    """Of the switch's programmer, and of the inspection engine's if there is one."""

    rule_sets: int | None = None
    """How many the inspection engine has in force; unset where none runs, since nobody asks for it."""


class LabState(Struct, frozen=True, kw_only=True):
    name: str
    pid: int
    folder: str
    nats_url: str
    nats_keys: str = ""
    """Folder of the operator's keys; empty where the bus has no identities."""

    manifests: str
    api_url: str = ""
    """Of its API; empty where none runs."""

    nodes: tuple[NodeState, ...]
    pods: tuple[PodState, ...]
    restarts: dict[str, int]
    """How often what had to be started again; only what had to."""


def write(state: LabState) -> None:
    """Readers see the state before, or this one."""
    path = Path(state.folder) / FILE
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.format(msgspec.json.encode(state), indent=2))
    new.replace(path)


def read(name: str | None = None) -> LabState:
    """The state of the lab of this name; of the only one that runs, if None.

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
    """The Pod of this namespace/name; `default/` may be left out.

    Raises:
        NoLab: there is none.
    """
    wanted = name if "/" in name else f"default/{name}"
    for each in state.pods:
        if each.pod == wanted:
            return each
    known = ", ".join(each.pod for each in state.pods) or "there are none"
    raise NoLab(f"{wanted}: no such Pod in lab {state.name}: {known}")
