"""Defaults written into objects that leave fields out, as operations of JSON Patch (RFC 6902).

Fields whose absence already means the default (TCP, no logging) are not written.
"""

from collections.abc import Mapping
from typing import Any

from sluice.admission.antrea_policy import rules
from sluice.contracts.antrea import DEFAULT_TIER, rule_name
from sluice.contracts.objects import AntreaPolicy, AnyObject

Operation = Mapping[str, Any]  # Any: JSON


def defaults(made: AnyObject) -> list[Operation]:
    """A policy gets its tier, and rules without a name get one made from their content: `ingress-drop-2f0ed6e`."""
    if not isinstance(made, AntreaPolicy):
        return []
    operations: list[Operation] = []
    if not made.spec.tier:
        operations.append(_add("/spec/tier", DEFAULT_TIER))
    seen = {"ingress": 0, "egress": 0}
    for way, _, rule in rules(made):
        if not rule.name:
            operations.append(_add(f"/spec/{way}/{seen[way]}/name", rule_name(way, rule)))
        seen[way] += 1
    return operations


def name_label(label: str, namespace: Mapping[str, Any]) -> list[Operation]:
    """Give the Namespace this label with its own name."""
    metadata = namespace.get("metadata") or {}
    labels, name = metadata.get("labels"), metadata.get("name", "")
    if not name or (labels or {}).get(label) == name:
        return []
    if not labels:
        return [_add("/metadata/labels", {label: name})]
    return [_add(f"/metadata/labels/{label.replace('~', '~0').replace('/', '~1')}", name)]


def _add(path: str, value: object) -> Operation:
    """Sets the member, whether or not it exists."""
    return {"op": "add", "path": path, "value": value}
