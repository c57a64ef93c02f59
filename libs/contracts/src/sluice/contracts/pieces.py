"""Parts that several kinds of Kubernetes objects share: metadata, selectors, IP blocks."""

from typing import Literal

from msgspec import Struct, field

Protocol = Literal["TCP", "UDP", "SCTP"]
Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]


class Kube(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """A piece of Kubernetes JSON: camelCase on the wire, unset fields omitted."""


class Part(Kube, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A piece of a spec; unknown fields are a decoding error."""


class ObjectMeta(Kube, frozen=True, kw_only=True):
    name: str
    namespace: str = ""
    """Empty for cluster-scoped kinds."""

    uid: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    """For trimmed kinds, only the annotations that Sluice reads (`sluice.kube.convert.ANNOTATIONS`)."""

    creation_timestamp: str = ""
    """RFC 3339, as given by Kubernetes or the manifest; empty if neither gives it."""

    generation: int = 0
    """Kubernetes' counter of spec changes; 0 if Kubernetes does not count them, and for trimmed kinds."""


class Object(Kube, frozen=True, kw_only=True):
    api_version: str
    kind: str
    metadata: ObjectMeta

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name); the namespace is empty for cluster-scoped kinds."""
        return self.metadata.namespace, self.metadata.name


class LabelRequirement(Part, frozen=True, kw_only=True):
    key: str
    operator: Operator
    values: tuple[str, ...] = ()


class LabelSelector(Part, frozen=True, kw_only=True):
    """Selects what meets all of its requirements; without any, it selects everything."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelRequirement, ...] = ()


class NamespacedName(Part, frozen=True, kw_only=True):
    name: str
    namespace: str


class IPBlock(Part, frozen=True, kw_only=True):
    cidr: str
    except_: tuple[str, ...] = field(default=(), name="except")
