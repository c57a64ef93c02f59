"""The manifest folder that the lab's ingest watches: the lab is the source of objects, as a cluster's API server is."""

from collections.abc import Mapping
from pathlib import Path

from sluice.kube.digest import folder_digest
from sluice.lab.world import Key


class ManifestFolder:
    """Files that are what they are at once: each is replaced whole, and what is half written has another name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._files = {
            each.relative_to(path).as_posix(): each.read_bytes() for each in sorted(path.rglob("*")) if each.is_file()
        }
        """What was there before counts: the next `hold` removes what it does not know."""

    @property
    def digest(self) -> str:
        """Of what the folder holds now, as ingest will say it."""
        return folder_digest(self._files.items())

    def hold(self, bodies: Mapping[Key, bytes], others: Mapping[str, bytes]) -> None:
        """Make the folder hold exactly these objects, and these files besides."""
        wanted = {file_of(key): body for key, body in bodies.items()} | dict(others)
        for name in self._files.keys() - wanted.keys():
            (self.path / name).unlink()
        for name, content in wanted.items():
            if self._files.get(name) != content:
                target = self.path / name
                target.parent.mkdir(parents=True, exist_ok=True)
                written = target.with_name(f".{target.name}")
                written.write_bytes(content)
                written.replace(target)
        self._files = wanted


def file_of(key: Key) -> str:
    """Where the object is. Names of Kubernetes objects are good file names; `_` is none of them."""
    return f"{key.kind}/{key.namespace or '_'}/{key.name}.json"
