"""Files that this service writes: each is replaced as a whole, so that no reader sees half of it."""

from pathlib import Path

from sluice.contracts import codec
from sluice.dataplane.l7.tenants import NOTHING_KEPT, Kept


def replace(path: Path, body: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(body.encode() if isinstance(body, str) else body)
    new.replace(path)


def load_kept(path: Path) -> tuple[Kept, str]:
    """What was kept, and why it could not be read, if so: VLANs then start anew, and old connections are cut."""
    try:
        return codec.decode(path.read_bytes(), Kept), ""
    except FileNotFoundError:
        return NOTHING_KEPT, ""
    except codec.Undecodable as error:
        return NOTHING_KEPT, str(error)
