"""API discovery."""

from collections.abc import Iterable

from sluice.testkit.apiserver.resources import Json, Resource
from sluice.testkit.apiserver.store import Refused

VERSION: Json = {
    "major": "1",
    "minor": "32",
    "gitVersion": "v1.32.0-double",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2025-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}


def answer(steps: list[str], resources: Iterable[Resource]) -> Json | None:
    """The document at this path, or None if it is the path of objects.

    Raises:
        Refused: there is no such API.
    """
    there = list(resources)
    match steps:
        case ["version"]:
            return VERSION
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"]}
        case ["apis"]:
            groups = sorted({one.group for one in there} - {""})
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name, there) for name in groups]}
        case ["apis", group] if any(one.group == group for one in there):
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, there)}
        case ["api", version]:
            return _resources(version, there)
        case ["apis", group, version]:
            return _resources(f"{group}/{version}", there)
        case ["api", _, *_] | ["apis", _, _, *_]:
            return None
        case _:
            raise Refused(404, "NotFound", "the server could not find the requested resource")


def _group(name: str, resources: Iterable[Resource]) -> Json:
    versions = sorted({one.version for one in resources if one.group == name}, key=_stability)
    told = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": told, "preferredVersion": told[0]}


def _stability(version: str) -> tuple[int, str]:
    return ("alpha" in version) * 2 + ("beta" in version), version


def _resources(api_version: str, resources: Iterable[Resource]) -> Json:
    found = [one for one in resources if one.api_version == api_version]
    if not found:
        raise Refused(404, "NotFound", "the server could not find the requested resource")
    told: list[Json] = []
    for one in found:
        told.append(
            {
                "name": one.plural,
                "singularName": one.kind.lower(),
                "namespaced": one.namespaced,
                "kind": one.kind,
                "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
                **({"shortNames": list(one.short_names)} if one.short_names else {}),
            }
        )
        if one.status:
            told.append(
                {
                    "name": f"{one.plural}/status",
                    "singularName": "",
                    "namespaced": one.namespaced,
                    "kind": one.kind,
                    "verbs": ["get", "patch", "update"],
                }
            )
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": told}
