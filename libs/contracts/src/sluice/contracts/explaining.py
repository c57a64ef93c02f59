"""Questions to a node about what its backends hold, and the answers: `sluice explain` and `sluice get flows`.

One subject per node and backend, `_sluice.explain.<node>.<backend>`, takes both questions: about one flow, filter or
signature, and for a listing of all of them, page by page.
"""

from msgspec import Struct

from sluice.contracts.ids import Backend, NodeName, Revision
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import ServiceRef
from sluice.contracts.tracing import DecidingRule


class ExplainQuestion(Struct, frozen=True, kw_only=True, tag="one"):
    """Asks what a flow, a filter or a signature is for, and which objects it belongs to."""

    flow: str
    """A flow, a filter or a signature as the backend's own tool prints it, or its identifier: a cookie,
    CHAIN/PREF/HANDLE, VLAN/SID."""


class HeldQuestion(Struct, frozen=True, kw_only=True, tag="all", omit_defaults=True):
    """Asks for a page of everything that the backend holds."""

    after: str = ""
    """`more` of the previous page; empty starts at the beginning."""

    limit: int = 500
    """Maximum number of items. A page of large items may have fewer."""


AnyQuestion = ExplainQuestion | HeldQuestion


class ObjectRef(Struct, frozen=True, kw_only=True, omit_defaults=True, order=True):
    """An object other than a policy: a TrafficControl or a Node."""

    kind: Kind
    namespace: str = ""
    name: str
    revision: Revision | None = None
    """The OBJECTS revision of the last change that this form of it reflects, if the node knows it."""


class Meaning(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a flow, a filter or a signature is for, and which objects it belongs to."""

    kind: str
    """Of a flow: base, port, clause, rule…; of a filter: root, address, port, rest…; of a signature: what it does."""

    says: str
    """What flows, filters or signatures of this kind are for."""

    table: str = ""
    """Table of a flow, chain of a filter, or tenant of a signature."""

    does: str = ""
    """What the table is for."""

    rules: tuple[DecidingRule, ...] = ()
    """The rules that it belongs to; all of them if several share it."""

    pods: tuple[str, ...] = ()
    """The Pods (namespace/name) whose port or interface it is about."""

    services: tuple[ServiceRef, ...] = ()
    objects: tuple[ObjectRef, ...] = ()
    places: tuple[str, ...] = ()
    """Where it is installed, in the notation of the tool: `dev eth3 ingress`; empty if there is only one place."""

    @property
    def owned(self) -> bool:
        """Whether it belongs to any object."""
        return bool(self.rules or self.pods or self.services or self.objects)


class Explanation(Meaning, frozen=True, kw_only=True, omit_defaults=True, tag="explanation"):
    """The answer to `ExplainQuestion`."""

    node: NodeName
    applied: Revision
    """The OBJECTS revision that was in force."""


class Held(Meaning, frozen=True, kw_only=True, omit_defaults=True):
    """One item that the backend holds."""

    line: str
    """The item in the notation of the backend's tool."""


class HeldPage(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="page"):
    """The answer to `HeldQuestion`."""

    node: NodeName
    backend: Backend
    applied: Revision
    items: tuple[Held, ...]
    more: str = ""
    """Where the next page begins; empty on the last page."""


class ExplainRefused(Struct, frozen=True, kw_only=True, tag="refused"):
    """The question cannot be answered."""

    reason: str


AnyAnswer = Explanation | HeldPage | ExplainRefused
