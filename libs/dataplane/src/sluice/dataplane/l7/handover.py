"""What node-l7 tells node-ovs: one file, replaced atomically, and the only channel between them.

node-ovs sends a rule's packets to a VLAN only while the file names that VLAN for the rule's rule set. Otherwise it
drops what the rule matches: an engine that is down, or has other rules, judges nothing.
"""

from msgspec import Struct

from sluice.contracts import codec


class HandOver(Struct, frozen=True, kw_only=True):
    tap_in: str
    """Port of the bridge that packets go into, tagged; both directions of a connection."""

    tap_out: str
    """Port that they come out of, with the engine's resets."""

    vlans: dict[str, int]
    """By the digest of a rule set: shown to be in force by a probe packet."""

    deserted: tuple[int, ...] = ()
    """VLANs whose rule is gone: nobody judges the connections that bear them any more."""


def write(value: HandOver) -> bytes:
    return codec.encode(value)


def read(body: bytes) -> HandOver:
    """Read the file.

    Raises:
        codec.Undecodable: it is none.
    """
    return codec.decode(body, HandOver)
