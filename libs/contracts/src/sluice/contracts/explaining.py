"""What a node is asked about a flow that it holds, and answers: `sluice explain`, by a request on the bus."""

from msgspec import Struct

from sluice.contracts.ids import NodeName, Revision
from sluice.contracts.programs import ServiceRef
from sluice.contracts.tracing import DecidingRule


class ExplainQuestion(Struct, frozen=True, kw_only=True):
    """Whose is this, asked on `_sluice.explain.<node>.<backend>`."""

    flow: str
    """A flow as the backend's own tool shows it, or its cookie alone."""


class Explanation(Struct, frozen=True, kw_only=True, omit_defaults=True, tag="explanation"):
    """The answer."""

    node: NodeName
    applied: Revision
    """OBJECTS up to here were in force."""

    kind: str
    """Of the flow: base, port, clause, rule, isolation, route, uplink, service…"""

    says: str
    """What flows of this kind are for."""

    table: str = ""
    does: str = ""
    """What the table is for."""

    rules: tuple[DecidingRule, ...] = ()
    """The rules that it belongs to; of a clause, all that share it."""

    pods: tuple[str, ...] = ()
    """Whose port it is about, namespace/name."""

    services: tuple[ServiceRef, ...] = ()


class ExplainRefused(Struct, frozen=True, kw_only=True, tag="refused"):
    """Why there is no answer."""

    reason: str
