"""/v1/verdicts: what happens to a packet, now or in the past, and which rule decides."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from msgspec import Struct

from sluice.policy.ends import NoSuchEnd
from sluice.policy.fate import AtEndpoint, fate
from sluice.policy.packet import ENDS, End, Packet, end
from sluice.policy.state import ClusterState
from sluice.policy.verdict import Verdict
from sluice.services.query_api import answers
from sluice.services.query_api.answers import Meta
from sluice.services.query_api.asking import Asking, At, Seq
from sluice.services.query_api.auth import Scope
from sluice.services.query_api.packets import AnyProtocol, asked, made
from sluice.services.query_api.problems import Problem


class Answer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happens to the packet, and why."""

    metadata: Meta
    packet: Packet
    verdict: Verdict | None = None
    """Unset for a Service whose endpoints get different verdicts."""

    endpoints: tuple[AtEndpoint, ...] = ()
    """For a Service: the verdict at each endpoint."""


def router(asking: Asking) -> APIRouter:
    routes = APIRouter(prefix="/v1/verdicts", tags=["verdicts"])

    @routes.get("", responses=answers.told(Answer), summary="What happens to a packet, and which rule decides")
    async def one(
        *,
        request: Request,
        source: Annotated[str, Query(alias="from", max_length=512, description=ENDS)],
        to: Annotated[str, Query(max_length=512, description=ENDS)],
        protocol: Annotated[AnyProtocol, Query(description="ICMP and IGMP have no ports")] = "TCP",
        port: Annotated[
            int | None, Query(ge=1, le=65_535, description="Destination port; required where there are ports")
        ] = None,
        source_port: Annotated[int | None, Query(ge=1, le=65_535, description="Source port")] = None,
        icmp_type: Annotated[int | None, Query(ge=0, le=255, description="Only with protocol=ICMP")] = None,
        icmp_code: Annotated[int | None, Query(ge=0, le=255, description="Only with protocol=ICMP")] = None,
        igmp_type: Annotated[
            int | None, Query(ge=0, le=255, description="17 for a query; 18, 22 or 34 for a report")
        ] = None,
        igmp_group: Annotated[str, Query(max_length=45, description="The multicast group in the message")] = "",
        family: Annotated[
            int | None, Query(description="IP version, 4 or 6, if both ends have addresses of both")
        ] = None,
        fqdn: Annotated[str, Query(max_length=253, description="DNS name that resolved to `to` for the sender")] = "",
        method: Annotated[
            str, Query(max_length=32, description="Method of the first HTTP request on the connection")
        ] = "",
        host: Annotated[str, Query(max_length=253, description="Host of that request")] = "",
        path: Annotated[str, Query(max_length=4096, description="Path of that request. Default: /")] = "",
        sni: Annotated[
            str | None, Query(max_length=253, description="Server name in the TLS handshake; empty if it has none")
        ] = None,
        seq: Seq = None,
        at: At = None,
    ) -> Response:
        asking.gate.require(request, Scope.READ)
        packet = made(
            source=_end("from", source),
            destination=_end("to", to),
            protocol=protocol,
            port=port,
            source_port=source_port,
            icmp=(icmp_type, icmp_code),
            igmp=(igmp_type, igmp_group),
            family=family,
            fqdn=fqdn,
            asks=asked(protocol, method, host, path, sni),
        )
        there = await asking.moments.find(seq, at)
        meta = Meta(revision=answers.revision_text(there.revision))
        try:
            return answers.json(request, _given(there.cluster, packet, meta))
        except NoSuchEnd as error:
            raise Problem(404, str(error)) from error

    return routes


def _end(field: str, text: str) -> End:
    try:
        return end(text)
    except ValueError as error:
        raise Problem(400, f"{field}: {error}") from None


def _given(state: ClusterState, asked: Packet, meta: Meta) -> Answer:
    found = fate(state, asked)
    return Answer(metadata=meta, packet=found.packet, verdict=found.verdict, endpoints=found.endpoints or ())
