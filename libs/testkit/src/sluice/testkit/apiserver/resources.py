"""The kinds that the fake serves: those of `contracts`, custom ones as their definitions describe them, and Leases."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from sluice.contracts.kinds import RESOURCES

Json = dict[str, Any]

DEFINITIONS = "customresourcedefinitions"


class Column(Struct, frozen=True):
    """A column printed by `kubectl get`."""

    name: str
    type: str
    path: str
    """Such as .spec.priority."""

    priority: int = 0
    """Above 0: only for `-o wide`."""


class Resource(Struct, frozen=True, kw_only=True):
    """One kind in one version."""

    group: str
    """Empty for the core group."""

    version: str
    kind: str
    plural: str
    namespaced: bool
    status: bool = False
    """Whether it has a status subresource; then writes of the object leave the status alone."""

    short_names: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    custom: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def root(self) -> str:
        """The path of its API."""
        return f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"

    @property
    def head(self) -> bytes:
        """The bytes with which each object begins."""
        return b'{"apiVersion":"%s","kind":"%s",' % (self.api_version.encode(), self.kind.encode())

    @property
    def definition(self) -> str:
        """The name of its CustomResourceDefinition."""
        return f"{self.plural}.{self.group}"


_WITH_STATUS = frozenset(("namespaces", "nodes", "pods", "services"))
_SHORT_NAMES = {"namespaces": ("ns",), "nodes": ("no",), "pods": ("po",), "services": ("svc",)}
_MORE = (
    Resource(group="coordination.k8s.io", version="v1", kind="Lease", plural="leases", namespaced=True),
    Resource(group="", version="v1", kind="Event", plural="events", namespaced=True),
    Resource(group="", version="v1", kind="ConfigMap", plural="configmaps", namespaced=True),
    Resource(group="", version="v1", kind="Secret", plural="secrets", namespaced=True),
    *(
        Resource(
            group="admissionregistration.k8s.io", version="v1", kind=kind, plural=f"{kind.lower()}s", namespaced=False
        )
        for kind in ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration")
    ),
    Resource(
        group="apiextensions.k8s.io",
        version="v1",
        kind="CustomResourceDefinition",
        plural=DEFINITIONS,
        namespaced=False,
        status=True,
    ),
)


def served(definitions: Iterable[Json] = ()) -> tuple[Resource, ...]:
    """All kinds of contracts, custom ones according to their definition if there is one, and what else clients need."""
    described = {(one.group, one.version, one.plural): one for each in definitions for one in of_definition(each)}
    found = {(one.group, one.version, one.plural): one for one in (*(map(_known, RESOURCES)), *_MORE)}
    return tuple({**found, **described}.values())


def definitions_in(folder: Path) -> list[Json]:
    """The CustomResourceDefinitions in a folder's YAML files."""
    documents = [
        document for file in sorted(folder.glob("*.yaml")) for document in yaml.safe_load_all(file.read_text())
    ]
    return [one for one in documents if one and one.get("kind") == "CustomResourceDefinition"]


def of_definition(definition: Mapping[str, Any]) -> list[Resource]:
    """A resource for each served version."""
    spec = definition["spec"]
    names = spec["names"]
    return [
        Resource(
            group=spec["group"],
            version=version["name"],
            kind=names["kind"],
            plural=names["plural"],
            namespaced=spec["scope"] == "Namespaced",
            status="status" in version.get("subresources", {}),
            short_names=tuple(names.get("shortNames", ())),
            columns=tuple(
                Column(one["name"], one["type"], one["jsonPath"], one.get("priority", 0))
                for one in version.get("additionalPrinterColumns", ())
            ),
            custom=True,
        )
        for version in spec["versions"]
        if version.get("served", True)
    ]


def bare_definition(resource: Resource) -> Json:
    """A minimal definition for a custom kind without one."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": resource.definition},
        "spec": {
            "group": resource.group,
            "names": {"kind": resource.kind, "plural": resource.plural},
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": [{"name": resource.version, "served": True, "storage": True}],
        },
    }


def _known(kind: Any) -> Resource:  # Any: a Kind
    known = RESOURCES[kind]
    group, _, version = known.api_version.rpartition("/")
    custom = "." in group and not group.endswith("networking.k8s.io") and not group.endswith("discovery.k8s.io")
    return Resource(
        group=group,
        version=version,
        kind=known.kind,
        plural=known.plural,
        namespaced=known.namespaced,
        status=known.status or (not group and known.plural in _WITH_STATUS),
        short_names=() if group else _SHORT_NAMES.get(known.plural, ()),
        custom=custom,
    )
