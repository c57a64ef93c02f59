"""The manifest folder watched by the lab's ingest: the lab is the source of objects, like a cluster's API server."""

from collections.abc import Mapping
from pathlib import Path

from sluice.kube.digest import folder_digest
from sluice.lab.world import Key


class ManifestFolder:
    """Files that change atomically: each is replaced as a whole, and written under another name until then."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._files = {
            each.relative_to(path).as_posix(): each.read_bytes() for each in sorted(path.rglob("*")) if each.is_file()
        }
        """Existing files count: the next `hold` removes unknown ones."""

    @property
    def digest(self) -> str:
        """The digest of the folder's current contents, as ingest will report it."""
        return folder_digest(self._files.items())

    def hold(self, bodies: Mapping[Key, bytes], others: Mapping[str, bytes]) -> None:
        """Make the folder contain exactly these objects and these other files."""
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
    """The file of the object. Names of Kubernetes objects are valid file names and never contain `_`."""
    return f"{key.kind}/{key.namespace or '_'}/{key.name}.json"
