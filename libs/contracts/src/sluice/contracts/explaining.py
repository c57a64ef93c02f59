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
    """Whose is this?"""

    flow: str
    """A flow, a filter or a signature as the backend's own tool shows it, or what names it there: a cookie,
    CHAIN/PREF/HANDLE, VLAN/SID."""


class HeldQuestion(Struct, frozen=True, kw_only=True, tag="all", omit_defaults=True):
    """What do you hold?"""

    after: str = ""
    """`more` of the page before; empty: from the beginning."""

    limit: int = 500
    """So many at most. There may be fewer, where each of them says much."""


AnyQuestion = ExplainQuestion | HeldQuestion


class ObjectRef(Struct, frozen=True, kw_only=True, omit_defaults=True, order=True):
    """An object that is no policy: a TrafficControl, a Node."""

    kind: Kind
    namespace: str = ""
    name: str
    revision: Revision | None = None
    """Of OBJECTS: the last change that this form reflects, where the node knows it."""


class Meaning(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a flow, a filter or a signature is for, and whose it is."""

    kind: str
    """Of a flow base, port, clause, rule…; of a filter root, address, port, rest…; of a signature what it does."""

    says: str
    """What those of this kind are for."""

    table: str = ""
    """Of a flow. Of a filter, the name of its chain; of a signature, its tenant."""

    does: str = ""
    """What the table is for."""

    rules: tuple[DecidingRule, ...] = ()
    """The rules that it belongs to; of what several share, all of them."""

    pods: tuple[str, ...] = ()
    """Whose port or interface it is about, namespace/name."""

    services: tuple[ServiceRef, ...] = ()
    objects: tuple[ObjectRef, ...] = ()
    places: tuple[str, ...] = ()
    """Where it stands, as the tool says it: `dev eth3 ingress`; unset where there is one place alone."""

    @property
    def owned(self) -> bool:
        """It names something that people wrote."""
        return bool(self.rules or self.pods or self.services or self.objects)


class Explanation(Meaning, frozen=True, kw_only=True, omit_defaults=True, tag="explanation"):
    """The answer about one."""

    node: NodeName
    applied: Revision
    """OBJECTS up to here were in force."""


class Held(Meaning, frozen=True, kw_only=True, omit_defaults=True):
    """One that the backend holds."""

    line: str
    """In the notation of the backend's tool."""


class HeldPage(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="page"):
    """The answer about all."""

    node: NodeName
    backend: Backend
    applied: Revision
    items: tuple[Held, ...]
    more: str = ""
    """Where the next page begins; empty: this is the last."""


class ExplainRefused(Struct, frozen=True, kw_only=True, tag="refused"):
    """Why there is no answer."""

    reason: str


AnyAnswer = Explanation | HeldPage | ExplainRefused
