"""The row type of the tables."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Case(NamedTuple):
    name: str
    object: Mapping[str, Any]  # Any: JSON, right or wrong
    refused: tuple[str, ...] = ()
    """`path: a part of the reason` of each refusal, in order; empty if it is admitted."""

    cautions: tuple[str, ...] = ()
    """The same for warnings to the author."""

    among: Sequence[Mapping[str, Any]] = ()
    """Other existing objects, including the one that it replaces."""

    @property
    def title(self) -> str:
        """Unique among all cases."""
        return f"{self.object['kind']}: {self.name}"


def crd(kind: str, spec: Any, *, version: str = "v1beta1", namespace: str = "", name: str = "a") -> dict[str, Any]:
    """An object of crd.antrea.io."""
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": f"crd.antrea.io/{version}", "kind": kind, "metadata": metadata, "spec": spec}


def service(name: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """A Service in the Namespace x."""
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "x"}, "spec": dict(spec)}
