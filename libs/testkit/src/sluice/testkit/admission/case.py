"""A row of the tables."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Case(NamedTuple):
    name: str
    object: Mapping[str, Any]  # Any: JSON, right or wrong
    refused: tuple[str, ...] = ()
    """`path: a part of the reason` of each refusal, in order; none if it is admitted."""

    cautions: tuple[str, ...] = ()
    """The same of what its author is warned of."""

    among: Sequence[Mapping[str, Any]] = ()
    """What exists beside it."""

    before: Mapping[str, Any] | None = None
    """What it replaces: then this is an update."""


def crd(kind: str, spec: Any, *, version: str = "v1beta1", namespace: str = "", name: str = "a") -> dict[str, Any]:
    """An object of crd.antrea.io."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": f"crd.antrea.io/{version}", "kind": kind, "metadata": metadata, "spec": spec}
