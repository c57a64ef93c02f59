"""The objects in manifests that a test contains."""

from sluice.kube.manifest import Document, parse


def read(*texts: str) -> list[Document]:
    """The objects of these manifests; fails if one of them cannot be read, since the test would be about less."""
    found = parse("---\n".join(texts), "test.yaml")
    objects = [one for one in found if isinstance(one, Document)]
    assert len(objects) == len(found), [one for one in found if not isinstance(one, Document)]
    return objects
