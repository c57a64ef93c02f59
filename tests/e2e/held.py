"""The objects of a story as they are. What admission refuses is left out: a cluster would hold what there is."""

from typing import Any

from sluice.admission.among import admit_all, admit_removal
from sluice.admission.context import Known, key_of
from sluice.contracts import codec
from sluice.contracts.objects import AnyObject
from sluice.kube.manifest import Document, parse

Json = dict[str, Any]  # Any: as YAML has it
Key = tuple[str, str, str]
"""API version and kind, namespace, name."""


class Held:
    def __init__(self) -> None:
        self.manifests: dict[Key, Json] = {}
        self.objects: dict[Key, AnyObject] = {}
        self._gone: list[Json] = []
        self._made: dict[Key, Json] = {}

    def put(self, *made: Json) -> bool:
        """Take them in at once, if all of them are admitted."""
        new = {_key(each): _read(each) for each in made}
        after = {**self.objects, **new}
        if any(admit_all(after.values())):
            return False
        self.objects = after
        self.manifests.update({_key(each): each for each in made})
        self._made.update({_key(each): each for each in made})
        return True

    def drop(self, key: Key) -> bool:
        """Let it go, if it may."""
        known = Known()
        for each in self.objects.values():
            known.put(each)
        if admit_removal(key_of(self.objects[key]), known) is not None or key in self._made:
            return False
        self._gone.append(self.manifests.pop(key))
        del self.objects[key]
        return True

    def told(self) -> tuple[list[Json], list[Json]]:
        """What came and what went since the last time."""
        made, gone = list(self._made.values()), self._gone
        self._made, self._gone = {}, []
        return made, [{"apiVersion": one["apiVersion"], "kind": one["kind"], **_named(one)} for one in gone]


def _read(one: Json) -> AnyObject:
    (document,) = parse(codec.encode(one), "story.json")
    assert isinstance(document, Document), document
    return document.object


def _key(one: Json) -> Key:
    return f"{one['apiVersion']} {one['kind']}", one["metadata"].get("namespace", ""), one["metadata"]["name"]


def _named(one: Json) -> Json:
    return {key: one["metadata"][key] for key in ("name", "namespace") if key in one["metadata"]}


def made(version: str, kind: str, name: str, of: str = "", *, meta: Json | None = None, **rest: Json) -> Json:
    """An object; `meta` is more metadata."""
    known: Json = {"name": name, **({"namespace": of} if of else {}), **(meta or {})}
    return {"apiVersion": version, "kind": kind, "metadata": known, **rest}
