"""Parts that several kinds of Kubernetes objects share: metadata, selectors, IP blocks."""

from typing import Literal

from msgspec import Struct, field

Protocol = Literal["TCP", "UDP", "SCTP"]
Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]


class Kube(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False):
    """A piece of Kubernetes JSON: camelCase on the wire, unset fields left out."""


class Part(Kube, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A piece of a spec; what it does not know it does not take."""


class ObjectMeta(Kube, frozen=True, kw_only=True):
    name: str
    namespace: str = ""
    """Empty for cluster-scoped kinds."""

    uid: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    """Of what is trimmed only those that somebody reads (`sluice.kube.convert.ANNOTATIONS`)."""

    creation_timestamp: str = ""
    """RFC 3339, as Kubernetes or the manifest gives it; empty where nobody did."""

    generation: int = 0
    """How often Kubernetes saw the spec change; 0 where it does not count, and in what is trimmed."""


class Object(Kube, frozen=True, kw_only=True):
    api_version: str
    kind: str
    metadata: ObjectMeta

    @property
    def key(self) -> tuple[str, str]:
        """(namespace, name); the namespace is empty for cluster-scoped kinds."""
        return self.metadata.namespace, self.metadata.name


class LabelRequirement(Kube, frozen=True, kw_only=True):
    key: str
    operator: Operator
    values: tuple[str, ...] = ()


class LabelSelector(Kube, frozen=True, kw_only=True):
    """All of its requirements hold; one without any selects everything."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelRequirement, ...] = ()


class NamespacedName(Kube, frozen=True, kw_only=True):
    name: str
    namespace: str


class IPBlock(Kube, frozen=True, kw_only=True):
    cidr: str
    except_: tuple[str, ...] = field(default=(), name="except")
