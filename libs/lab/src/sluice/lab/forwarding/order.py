"""What a forwarder is told when it is started, and how it tells that it is at work."""

from msgspec import Struct


class Order(Struct, frozen=True, kw_only=True):
    """The one argument of the process, as JSON. All paths are absolute."""

    netns: str
    """It works in this namespace."""

    from_: str
    """The link that frames come by."""

    to: str = ""
    """The link that they go by; empty: a tunnel, `back`."""

    back: str = ""
    """geneve, vxlan or gre."""

    vni: int = 0
    key: int | None = None
    port: int = 0
    """UDP destination of the tunnel back; 0 of gre."""

    ports: dict[int, str] = {}
    """UDP destinations of tunnels that end here, and their kinds."""

    drop: str = ""
    rules: tuple[str, ...] = ()
    """Of Suricata; empty: it forwards itself."""

    folder: str
    """Of its own files. `ready` is there and holds what `ready` says while it is at work."""


def ready(indexes: tuple[int, ...]) -> str:
    """What the file says when the forwarder is at work between links with these indexes of their namespace."""
    return " ".join(map(str, indexes))
