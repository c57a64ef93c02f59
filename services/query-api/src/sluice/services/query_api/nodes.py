"""/v1/nodes: each node's status, the programs it must hold, and what its backends hold.

The last is requested from the node itself, because it is not stored anywhere.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response
from msgspec import Struct

from sluice.contracts import codec, explaining, subjects
from sluice.contracts.groups import Own
from sluice.contracts.ids import ALL_NODES, Backend, GroupId, NodeName, Revision, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import Action, Direction, Origin
from sluice.contracts.status import NodeStatus, read_status
from sluice.contracts.tracing import DecidingRule
from sluice.runtime import explaining as ask
from sluice.services.query_api import answers
from sluice.services.query_api.answers import LIMIT, Meta
from sluice.services.query_api.asking import Asking, OnNode
from sluice.services.query_api.auth import Scope
from sluice.services.query_api.problems import Problem


class NodeList(Struct, frozen=True, kw_only=True):
    metadata: Meta
    items: tuple[NodeStatus, ...]
    """One per backend of each node."""


class Held(Struct, frozen=True, kw_only=True):
    """A program that a node must hold."""

    subject: str
    revision: str
    program: msgspec.Raw


class Lines(Struct, frozen=True, kw_only=True):
    """What a backend of a node holds."""

    metadata: Meta
    node: NodeName
    backend: Backend
    items: tuple[explaining.Held, ...]


LINES = Lines(
    metadata=Meta(revision="1793459220000000.42"),
    node=NodeName("node-1"),
    backend="tc",
    items=(
        explaining.Held(
            line="dev eth3 egress protocol ip pref 1 chain 84934656 handle 0x1 flower ip_proto tcp dst_port 80 "
            "action gact goto chain 83886082 cookie 534c4345050000000000000600500050",
            kind="port",
            says="matches a port, a range or a protocol that these rules open",
            table="ports",
            does="matches what is open to the addresses that lead here, and drops the rest",
            pods=("shop/web",),
            rules=(
                DecidingRule(
                    policy=Origin(kind=Kind.MULTI_NETWORK_POLICY, namespace="shop", name="web", uid=Uid("9c1f")),
                    object_revision=Revision(1793459220000000, 40),
                    direction=Direction.INGRESS,
                    index=0,
                    action=Action.ALLOW,
                ),
            ),
            places=("dev eth3 egress",),
        ),
    ),
)
SILENT = 424
"""Failed Dependency, RFC 4918: the API works, but the node that it asks does not answer."""


class HeldList(Struct, frozen=True, kw_only=True):
    metadata: Meta
    items: tuple[Held, ...]


def router(asking: Asking) -> APIRouter:
    routes = APIRouter(prefix="/v1/nodes", tags=["nodes"])

    @routes.get("", responses=answers.told(NodeList), summary="Status of all nodes")
    async def listed(*, request: Request, limit: answers.Limit = LIMIT, continue_: answers.Continue = "") -> Response:
        asking.gate.require(request, Scope.READ)
        told = {subject for subject in asking.board.status.values if _node(subject)}
        keys, more = answers.page(told, limit, continue_)
        meta = Meta(revision=answers.revision_text(asking.board.status.upto), more=more)
        return answers.json(request, NodeList(metadata=meta, items=tuple(_statuses(asking, keys))))

    @routes.get("/{node}", responses=answers.told(NodeList), summary="Status of one node")
    async def one(*, request: Request, node: OnNode) -> Response:
        asking.gate.require(request, Scope.READ)
        return answers.json(request, NodeList(metadata=_meta(asking), items=tuple(_of(asking, node))))

    @routes.get("/{node}/programs", responses=answers.told(HeldList), summary="Programs that a node must hold")
    async def programs(
        *,
        request: Request,
        node: OnNode,
        limit: answers.Limit = LIMIT,
        continue_: answers.Continue = "",
    ) -> Response:
        asking.gate.require(request, Scope.READ)
        backends: set[str] = {status.backend for status in _of(asking, node)}
        groups = _groups(asking, node)
        values = asking.board.programs.values
        wanted = [subject for subject in values if _is_for(subject, backends, groups)]
        keys, more = answers.page(wanted, limit, continue_)
        items = tuple(
            Held(
                subject=subject,
                revision=answers.revision_text(values[subject].revision),
                program=answers.raw(values[subject].body),
            )
            for subject in keys
        )
        meta = Meta(revision=answers.revision_text(asking.board.programs.upto), more=more)
        return answers.json(request, HeldList(metadata=meta, items=items))

    @routes.get(
        "/{node}/programs/{backend}",
        responses={
            **answers.told(Lines, LINES),
            SILENT: answers.failure("The node does not answer, or is too old to answer this"),
        },
        summary="What a backend holds: flows (ovs), filters (tc), signatures (l7) or lines (host), with their policies",
    )
    async def lines(
        *,
        request: Request,
        node: OnNode,
        backend: Annotated[Backend, Path(description="Backend of the node")],
        limit: answers.Limit = LIMIT,
        continue_: Annotated[str, Query(alias="continue", max_length=4096, description=answers.MORE)] = "",
    ) -> Response:
        asking.gate.require(request, Scope.READ)
        has = sorted(status.backend for status in _of(asking, node))
        if backend not in has:
            raise Problem(404, f"{node}: the node has no backend {backend}; it has {', '.join(has)}")
        try:
            held = await ask.held(asking.bus, NodeName(node), backend, answers.decoded(continue_), limit)
        except ask.Silent as error:
            raise Problem(SILENT, f"{error}; see `sluice get nodes`") from error
        except ask.NoAnswer as error:
            raise Problem(400, str(error)) from error
        meta = Meta(revision=answers.revision_text(held.applied), more=answers.encoded(held.more))
        return answers.json(request, Lines(metadata=meta, node=held.node, backend=held.backend, items=held.items))

    return routes


def _meta(asking: Asking) -> Meta:
    return Meta(revision=answers.revision_text(asking.board.status.upto))


def _node(subject: str) -> str:
    """The node whose status it is; empty if it is not a node's."""
    match subjects.known(subject):
        case subjects.StatusSubject(node=node) if not node.startswith("_"):
            return node
        case _:
            return ""


def _statuses(asking: Asking, keys: Iterable[str]) -> Iterator[NodeStatus]:
    for key in keys:
        match subjects.known(key):
            case subjects.StatusSubject(node=node, backend=backend):
                status = read_status(NodeName(node), backend, asking.board.status.values[key].body)
                if status is not None:
                    yield status
            case _:
                pass


def _of(asking: Asking, node: str) -> list[NodeStatus]:
    found = list(_statuses(asking, sorted(key for key in asking.board.status.values if _node(key) == node)))
    if not found:
        raise Problem(404, f"{node}: no node of this name has reported a status; /v1/nodes lists those that have")
    return found


def _groups(asking: Asking, node: str) -> frozenset[GroupId]:
    """Groups with members on the node."""
    prefix = subjects.owns(NodeName(node)).removesuffix("*")
    owned = (codec.decode(version.body, Own).groups for _, version in asking.board.groups.below(prefix))
    return frozenset((ALL_NODES, *(group for groups in owned for group in groups)))


def _is_for(subject: str, backends: set[str], groups: frozenset[GroupId]) -> bool:
    words = subject.split(".")
    return len(words) == 4 and words[1] in backends and words[2] in groups
