"""What node-l7 tells node-ovs: one file, replaced atomically, and the only channel between them.

node-ovs sends a rule's packets to a VLAN only while the file names that VLAN for the rule's rule set. Otherwise it
drops what the rule matches, since an engine that is down or has other rules cannot judge it.
"""

from msgspec import Struct

from sluice.contracts import codec


class HandOver(Struct, frozen=True, kw_only=True):
    tap_in: str
    """Bridge port for tagged packets to the engine, of both directions of a connection."""

    tap_out: str
    """Bridge port for packets from the engine, including its resets."""

    vlans: dict[str, int]
    """VLAN by the digest of a rule set that a probe packet has shown to be in force."""

    deserted: tuple[int, ...] = ()
    """VLANs whose rule is gone: connections tagged with them are no longer judged."""


def write(value: HandOver) -> bytes:
    return codec.encode(value)


def read(body: bytes) -> HandOver:
    """Read the file.

    Raises:
        codec.Undecodable: it is invalid.
    """
    return codec.decode(body, HandOver)
