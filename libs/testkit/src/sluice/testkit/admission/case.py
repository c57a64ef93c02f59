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
    """What exists beside it; among it, what it replaces."""

    @property
    def title(self) -> str:
        """Tells it from all others."""
        return f"{self.object['kind']}: {self.name}"


def crd(kind: str, spec: Any, *, version: str = "v1beta1", namespace: str = "", name: str = "a") -> dict[str, Any]:
    """An object of crd.antrea.io."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": f"crd.antrea.io/{version}", "kind": kind, "metadata": metadata, "spec": spec}


def service(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A Service of the Namespace x."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "x"}, "spec": dict(spec)}
