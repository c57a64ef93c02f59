"""A list as `kubectl get` requests it: columns and cells, formatted by the server."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec

from sluice.testkit.apiserver.resources import Column, Json, Resource

_NAME: Json = {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0}
_AGE = Column("Age", "date", ".metadata.creationTimestamp")


def wanted(accept: str) -> str:
    """The version of Table that the client prefers, or an empty string if it wants the objects."""
    first = accept.split(",", maxsplit=1)[0].replace(" ", "")
    if "as=Table" not in first:
        return ""
    return "meta.k8s.io/v1" if "v=v1;" in f"{first};" else "meta.k8s.io/v1beta1"


def table(
    resource: Resource, bodies: Iterable[bytes], version: int, api_version: str, *, include: str, now: datetime
) -> Json:
    """The table; kinds without columns of their own get their age, as servers do for custom kinds.

    Args:
        include: what to include of each object: Object, Metadata or None.
    """
    columns = resource.columns or (_AGE,)
    return {
        "kind": "Table",
        "apiVersion": api_version,
        "metadata": {"resourceVersion": str(version)},
        "columnDefinitions": [
            _NAME,
            *(
                {"name": c.name, "type": c.type, "format": "", "description": "", "priority": c.priority}
                for c in columns
            ),
        ],
        "rows": [_row(msgspec.json.decode(body), columns, include, api_version, now) for body in bodies],
    }


def _row(made: Json, columns: Iterable[Column], include: str, api_version: str, now: datetime) -> Json:
    cells = [made["metadata"]["name"], *(_cell(made, column, now) for column in columns)]
    if include == "None":
        return {"cells": cells}
    partial = {"kind": "PartialObjectMetadata", "apiVersion": api_version, "metadata": made["metadata"]}
    return {"cells": cells, "object": made if include == "Object" else partial}


def _cell(made: Json, column: Column, now: datetime) -> Any:  # Any: JSON
    found: Any = made
    for step in column.path.strip(".").split("."):
        found = found.get(step) if isinstance(found, dict) else None
    if found is None:
        return None  # kubectl prints nothing for it
    if column.type == "date":
        return _age(str(found), now)
    return str(found) if column.type == "string" else found


def _age(since: str, now: datetime) -> str:
    """Source: k8s.io/apimachinery, pkg/util/duration, HumanDuration, for the ages that occur in tests."""
    seconds = int((now - datetime.fromisoformat(since).astimezone(UTC)).total_seconds())
    if seconds < 120:
        return f"{max(0, seconds)}s"
    if seconds < 600:
        return f"{seconds // 60}m{seconds % 60}s" if seconds % 60 else f"{seconds // 60}m"
    if seconds < 3 * 3600:
        return f"{seconds // 60}m"
    if seconds < 48 * 3600:
        return f"{seconds // 3600}h"
    return f"{seconds // 86400}d"
