"""Wraps a schema into a CustomResourceDefinition."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sluice.admission.crd.pieces import Schema
from sluice.contracts.kinds import RESOURCES, Kind


class Column(NamedTuple):
    """A column of `kubectl get`."""

    name: str
    type: str
    path: str
    wide: bool = False
    """Only with `-o wide`."""


AGE = Column("Age", "date", ".metadata.creationTimestamp")


def definition(
    kind: Kind,
    schema: Mapping[str, Schema],
    *,
    short: Sequence[str],
    columns: Sequence[Column] = (),
    rules: Sequence[Schema] = (),
    status: bool,
    required: Sequence[str] = ("spec",),
) -> dict[str, Any]:
    """The definition of a kind with this schema for its spec and status."""
    resource = RESOURCES[kind]
    group, _, version = resource.api_version.rpartition("/")
    whole: Schema = {
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            **schema,
        },
    }
    if required:
        whole["required"] = list(required)
    if rules:
        whole["x-kubernetes-validations"] = list(rules)
    served: dict[str, Any] = {
        "name": version,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(column) for column in (*columns, AGE)],
        "schema": {"openAPIV3Schema": whole},
    }
    if status:
        served["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{group}", "labels": {"app.kubernetes.io/part-of": "sluice"}},
        "spec": {
            "group": group,
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": SINGULAR.get(kind, resource.kind.lower()),
                "shortNames": list(short),
            },
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": [served],
        },
    }


SINGULAR = {Kind.MULTI_NETWORK_POLICY: "multi-networkpolicy"}
"""Where it is not the kind in lower case."""


def _column(column: Column) -> dict[str, Any]:
    made: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return made | ({"priority": 1} if column.wide else {})
