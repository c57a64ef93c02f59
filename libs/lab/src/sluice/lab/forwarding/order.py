"""The order that a forwarder gets at its start, and how it reports that it is working."""

from msgspec import Struct


class Order(Struct, frozen=True, kw_only=True):
    """The process's only argument, as JSON. All paths are absolute."""

    netns: str
    """The namespace it works in."""

    from_: str
    """The link that frames arrive on."""

    to: str = ""
    """The link that they leave by; empty if they leave through a tunnel (`back`)."""

    back: str = ""
    """geneve, vxlan or gre."""

    vni: int = 0
    key: int | None = None
    port: int = 0
    """UDP destination port of the tunnel back; 0 for gre."""

    ports: dict[int, str] = {}
    """UDP destination ports of tunnels that end here, and their kinds."""

    drop: str = ""
    rules: tuple[str, ...] = ()
    """Rules of Suricata; if empty, the process forwards by itself."""

    folder: str
    """Folder for its own files. While it works, it contains the file `ready` with the text of `ready()`."""


def ready(indexes: tuple[int, ...]) -> str:
    """The file's text while the forwarder works between links with these interface indexes of their namespace."""
    return " ".join(map(str, indexes))
