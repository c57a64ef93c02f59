"""The content of a folder of manifests as one short text that a reader can compare with its own."""

from collections.abc import Iterable

from sluice.contracts import codec

SUFFIXES = (".yaml", ".yml", ".json")


def is_manifest(path: str) -> bool:
    """Whether the file with this relative path (`/` as separator) is read. Names that begin with a dot are not.

    This includes everything inside such a folder: editors and Kubernetes' own volumes (`..data`) keep their copies
    there.
    """
    parts = path.split("/")
    return path.endswith(SUFFIXES) and not any(part.startswith(".") for part in parts)


def folder_digest(folder: Iterable[tuple[str, bytes]]) -> str:
    """Digest of the relative paths and contents of all manifests; other files and the order do not matter."""
    return listing_digest((path, codec.digest(content)) for path, content in folder)


def listing_digest(listing: Iterable[tuple[str, str]]) -> str:
    """The same, computed from the digest of each file, for callers that do not keep the contents."""
    return codec.digest(codec.encode(sorted(entry for entry in listing if is_manifest(entry[0]))))
