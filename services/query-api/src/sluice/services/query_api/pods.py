"""/v1/pods: which policies apply to a Pod, and which rules have it as a peer."""

from fastapi import APIRouter, Request, Response
from msgspec import Struct

from sluice.contracts.ids import Address, GroupId
from sluice.contracts.objects import Pod
from sluice.contracts.programs import Origin
from sluice.policy.state import ClusterState
from sluice.policy.verdict import RuleRef, ref
from sluice.services.query_api import answers
from sluice.services.query_api.asking import Asking, At, InNamespace, Name, Seq
from sluice.services.query_api.auth import Scope
from sluice.services.query_api.problems import Problem


class Endpoint(Struct, frozen=True, kw_only=True):
    """A Pod, the policies that apply to it, and the rules that have it as a peer."""

    namespace: str
    name: str
    node: str
    addresses: tuple[Address, ...]
    groups: tuple[GroupId, ...]
    applied: tuple[Origin, ...]
    """The policies that apply to it."""

    isolated_by: tuple[Origin, ...]
    """Those of them that isolate it: Kubernetes policies that deny whatever none allows."""

    peer_of: tuple[RuleRef, ...]
    """The rules that have it as a peer, through a group that it is in."""


def router(asking: Asking) -> APIRouter:
    routes = APIRouter(prefix="/v1/pods", tags=["pods"])

    @routes.get(
        "/{namespace}/{name}",
        responses=answers.told(Endpoint),
        summary="Policies that apply to a Pod, and rules that have it as a peer",
    )
    async def one(*, request: Request, namespace: InNamespace, name: Name, seq: Seq = None, at: At = None) -> Response:
        asking.gate.require(request, Scope.READ)
        there = await asking.moments.find(seq, at)
        pod = there.cluster.pods.get((namespace, name))
        if pod is None:
            raise Problem(404, f"{namespace}/{name}: there is no such Pod at revision {there.revision.sequence}")
        return answers.json(request, endpoint(there.cluster, pod), there.revision)

    return routes


def endpoint(cluster: ClusterState, pod: Pod) -> Endpoint:
    groups = cluster.groups_of(pod)
    applied = {program.origin: program for program in cluster.programs_of(groups)}
    return Endpoint(
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        node=pod.node,
        addresses=pod.addresses,
        groups=tuple(sorted(groups)),
        applied=tuple(sorted(applied)),
        isolated_by=tuple(sorted(origin for origin, program in applied.items() if program.isolates)),
        peer_of=tuple(ref(program, rule) for program, rule in cluster.rules_naming(groups)),
    )
