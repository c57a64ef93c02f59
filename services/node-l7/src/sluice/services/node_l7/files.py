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


def old_logs(folder: Path, days: int, size_bytes: int) -> list[Path]:
    """Event logs that are to go: the oldest beyond so many days, or so much in all. The newest always stays."""
    logs = sorted(folder.glob("eve-*.json"), reverse=True)
    total, gone = 0, []
    for place, log in enumerate(logs):
        total += log.stat().st_size
        if place and (place >= days or total > size_bytes):
            gone.append(log)
    return gone
