"""/v1/groups: the groups that policies name, and their current members."""

from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from msgspec import Struct

from sluice.contracts import codec, subjects
from sluice.contracts.groups import Member, Page
from sluice.contracts.ids import GroupId, NodeName
from sluice.grouping.selectors import GroupSelector
from sluice.policy.state import ClusterState
from sluice.services.query_api import answers
from sluice.services.query_api.answers import LIMIT, Meta
from sluice.services.query_api.asking import Asking, At, InGroup, Seq
from sluice.services.query_api.auth import Scope
from sluice.services.query_api.problems import Problem


class GroupRow(Struct, frozen=True, kw_only=True):
    """A group of Pods or Nodes that policies use, and what applies to it."""

    group: GroupId
    selector: GroupSelector
    applied: tuple[str, ...]
    """Policies and other objects that apply to the group, as subjects name them: acnps:_:deny."""


class GroupList(Struct, frozen=True, kw_only=True):
    metadata: Meta
    items: tuple[GroupRow, ...]


class Here(Struct, frozen=True, kw_only=True):
    """The members on one node."""

    node: NodeName
    members: tuple[Member, ...]


class GroupDetail(Struct, frozen=True, kw_only=True):
    group: GroupRow
    nodes: tuple[Here, ...]
    """As the nodes read them, now."""


def router(asking: Asking) -> APIRouter:
    routes = APIRouter(prefix="/v1/groups", tags=["groups"])

    @routes.get("", responses=answers.told(GroupList), summary="Groups that policies use")
    async def listed(
        *,
        request: Request,
        seq: Seq = None,
        at: At = None,
        limit: answers.Limit = LIMIT,
        continue_: answers.Continue = "",
    ) -> Response:
        asking.gate.require(request, Scope.READ)
        there = await asking.moments.find(seq, at)
        groups, more = answers.page(there.cluster.selectors, limit, continue_)
        rows = tuple(_row(there.cluster, GroupId(group)) for group in groups)
        meta = Meta(revision=answers.revision_text(there.revision), more=more)
        return answers.json(request, GroupList(metadata=meta, items=rows), there.revision)

    @routes.get("/{group}", responses=answers.told(GroupDetail), summary="One group, and its current members")
    async def one(*, request: Request, group: InGroup) -> Response:
        asking.gate.require(request, Scope.READ)
        cluster = asking.board.objects.cluster
        if group not in cluster.selectors:
            raise Problem(404, f"{group}: no policy uses a group with this identifier; /v1/groups lists those in use")
        named = GroupId(group)
        return answers.json(request, GroupDetail(group=_row(cluster, named), nodes=tuple(_pages(asking, named))))

    return routes


def _row(cluster: ClusterState, group: GroupId) -> GroupRow:
    applied = sorted(program.unit for program in cluster.programs_of((group,)))
    return GroupRow(group=group, selector=cluster.selectors[group], applied=tuple(applied))


def _pages(asking: Asking, group: GroupId) -> Iterator[Here]:
    for _, version in asking.board.groups.below(subjects.pages(group).removesuffix("*")):
        page = codec.decode(version.body, Page)
        yield Here(node=page.node, members=page.members)
