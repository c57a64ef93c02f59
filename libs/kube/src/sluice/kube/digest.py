"""What a folder of manifests holds, as one short text that a reader can compare with its own."""

from collections.abc import Iterable

from sluice.contracts import codec

SUFFIXES = (".yaml", ".yml", ".json")


def is_manifest(path: str) -> bool:
    """The file of this relative path (`/` between its parts) is read. What begins with a dot is not, nor what is in it.

    Editors and Kubernetes' own volumes (`..data`) keep their copies under such names.
    """
    parts = path.split("/")
    return path.endswith(SUFFIXES) and not any(part.startswith(".") for part in parts)


def folder_digest(folder: Iterable[tuple[str, bytes]]) -> str:
    """Stands for the relative paths and contents of all manifests; other files and the order do not matter."""
    return listing_digest((path, codec.digest(content)) for path, content in folder)


def listing_digest(listing: Iterable[tuple[str, str]]) -> str:
    """The same from the digest of each file, for who does not keep the contents."""
    return codec.digest(codec.encode(sorted(entry for entry in listing if is_manifest(entry[0]))))
