"""/v1/policies: the policies in the order of enforcement, and how far each is in force."""

from collections.abc import Iterable
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from msgspec import Struct

from sluice.contracts import subjects
from sluice.contracts.ids import GroupId
from sluice.contracts.kinds import POLICIES, RESOURCES, Kind
from sluice.contracts.objects import AnyPolicy, Tier
from sluice.contracts.programs import Program
from sluice.contracts.stats import RuleCount
from sluice.grouping.events import ObjectKey, key_of
from sluice.policy.listing import rows, source
from sluice.services.query_api import answers
from sluice.services.query_api.answers import LIMIT, Meta
from sluice.services.query_api.asking import Asking, At, InNamespace, Name, OfKind, Seq
from sluice.services.query_api.auth import Scope
from sluice.services.query_api.moments import Moment
from sluice.services.query_api.places import Places
from sluice.services.query_api.problems import Problem

KINDS = tuple(sorted(POLICIES))


class Count(Struct, frozen=True, kw_only=True):
    """What the rules of the policy decided about, since each node first had them."""

    sessions: int = 0
    """Connections that it allowed; for what it denies, the number of packets."""

    packets: int = 0
    bytes: int = 0


class PolicyRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A policy, its place in the order of enforcement, and how far it is in force."""

    kind: str
    namespace: str
    name: str
    applied_to: tuple[GroupId, ...]
    rules: int
    tier_priority: int | None = None
    priority: float | None = None
    phase: str = ""
    """How far it is in force; empty for the past."""

    nodes: str = ""
    why: str = ""
    warning: str = ""
    """What is probably a mistake, as found by `sluice lint`; may be some time old, and is empty for the past."""

    counted: Count | None = None
    """What its rules decided, summed over all nodes; unset for the past, and while the bus does not answer."""


class PolicyList(Struct, frozen=True, kw_only=True):
    metadata: Meta
    items: tuple[PolicyRow, ...]


class PolicyDetail(Struct, frozen=True, kw_only=True, omit_defaults=True):
    policy: PolicyRow
    programs: tuple[Program, ...]
    """The programs that nodes with such Pods hold."""

    counts: tuple[RuleCount, ...] = ()
    """Counters of each rule that decided something, summed over all nodes."""


ROW = PolicyRow(
    kind="ClusterNetworkPolicy",
    namespace="",
    name="from-web",
    applied_to=(GroupId("2f75d44b89292fab"),),
    rules=1,
    tier_priority=250,
    priority=5,
    phase="Realized",
    nodes="2/2",
    counted=Count(sessions=12, packets=340, bytes=41_200),
)


LIST = PolicyList(metadata=Meta(revision="1793459220000000.42"), items=(ROW,))


def router(asking: Asking) -> APIRouter:
    routes, places = APIRouter(prefix="/v1/policies", tags=["policies"]), Places()

    @routes.get("", responses=answers.told(PolicyList, LIST), summary="Policies, in the order of enforcement")
    async def listed(
        *,
        request: Request,
        namespace: Annotated[str | None, Query(max_length=253, description="Only policies of this Namespace")] = None,
        seq: Seq = None,
        at: At = None,
        limit: answers.Limit = LIMIT,
        continue_: answers.Continue = "",
    ) -> Response:
        asking.gate.require(request, Scope.READ)
        there = await asking.moments.find(seq, at)
        keys, more = places.page(there, namespace, limit, continue_)
        meta = Meta(revision=answers.revision_text(there.revision), more=more)
        return answers.json(request, PolicyList(metadata=meta, items=tuple(await _rows(asking, there, keys))))

    @routes.get(
        "/{kind}/{namespace}/{name}",
        responses=answers.told(PolicyDetail),
        summary="One policy, its programs and its counters",
    )
    async def one(
        *, request: Request, kind: OfKind, namespace: InNamespace, name: Name, seq: Seq = None, at: At = None
    ) -> Response:
        asking.gate.require(request, Scope.READ)
        there = await asking.moments.find(seq, at)
        key = ObjectKey(kind, "" if namespace == "_" else namespace, name)
        found = await _rows(asking, there, [subjects.object_(*key)])
        if not found:
            raise Problem(
                404, f"{kind} {namespace}/{name}: there is no such policy at revision {there.revision.sequence}"
            )
        unit = subjects.unit(*key)
        compiler = there.cluster.compiler
        programs = [compiler.programs[group, unit] for group in compiler.addressed(unit)]
        counted = await asking.counts.newest() if there.is_now else None
        counts = counted.rules.get(unit, ()) if counted else ()
        return answers.json(request, PolicyDetail(policy=found[0], programs=tuple(programs), counts=counts))

    return routes


def _named(key: ObjectKey) -> tuple[str, str, str]:
    return RESOURCES[key.kind].kind, key.namespace, key.name


async def _rows(asking: Asking, there: Moment, keys: Iterable[str]) -> list[PolicyRow]:
    """The policies with these subjects, in the order of enforcement."""
    counted = await asking.counts.newest() if there.is_now and keys else None
    tiers = [one for one in there.objects((Kind.TIER,)) if isinstance(one, Tier)]
    found = [one for one in there.of(keys, KINDS) if isinstance(one, AnyPolicy)]
    policies = {source(*key_of(one)): key_of(one) for one in found}
    told = []
    for row in rows(there.cluster, found, tiers):
        key = policies[row.source]
        kind, namespace, name = _named(key)
        said = asking.board.realised(key) if there.is_now else None
        told.append(
            PolicyRow(
                kind=kind,
                namespace=namespace,
                name=name,
                applied_to=row.applied_to,
                rules=row.rules,
                tier_priority=row.tier_priority,
                priority=row.priority,
                phase=said.phase if said else "",
                nodes=said.nodes if said else "",
                why=said.why if said else "",
                warning=asking.board.warning(subjects.unit(*key)) if there.is_now else "",
                counted=_sum(counted.rules.get(subjects.unit(*key), ())) if counted else None,
            )
        )
    return told


def _sum(counts: Iterable[RuleCount]) -> Count:
    told = list(counts)
    return Count(
        sessions=sum(one.sessions for one in told),
        packets=sum(one.packets for one in told),
        bytes=sum(one.bytes for one in told),
    )
