"""The packet in a question. Contradictory parameters are refused: the answer would be about another packet."""

from ipaddress import ip_address
from typing import Literal

from sluice.contracts.ids import Address
from sluice.contracts.objects import Protocol
from sluice.policy.l7 import Asked, HttpRequest, TlsHello
from sluice.policy.packet import End, Packet
from sluice.services.query_api.problems import Problem

AnyProtocol = Protocol | Literal["ICMP", "IGMP"]

_WITHOUT_PORTS = ("ICMP", "IGMP")


def made(
    *,
    source: End,
    destination: End,
    protocol: AnyProtocol,
    port: int | None,
    source_port: int | None,
    icmp: tuple[int | None, int | None],
    igmp: tuple[int | None, str],
    family: int | None,
    fqdn: str,
    asks: Asked | None,
) -> Packet:
    """Build the packet; `icmp` is type and code, `igmp` is type and group.

    Raises:
        Problem: there is no such packet.
    """
    if protocol in _WITHOUT_PORTS and (port or source_port):
        raise Problem(400, f"port, source_port: an {protocol} packet has no ports; leave them out")
    if protocol not in _WITHOUT_PORTS and port is None:
        raise Problem(400, f"port: missing; a {protocol} packet has a destination port, unlike one with protocol=ICMP")
    if protocol != "ICMP" and icmp != (None, None):
        raise Problem(
            400, f"icmp_type, icmp_code: a {protocol} packet has none; leave them out, or write protocol=ICMP"
        )
    if protocol != "IGMP" and igmp != (None, ""):
        raise Problem(
            400, f"igmp_type, igmp_group: a {protocol} packet has none; leave them out, or write protocol=IGMP"
        )
    if family not in (None, 4, 6):
        raise Problem(400, f"family: {family} is not an IP version; write 4 or 6")
    return Packet(
        source=source,
        destination=destination,
        protocol=protocol,
        port=port,
        source_port=source_port,
        icmp_type=icmp[0],
        icmp_code=icmp[1],
        igmp_type=igmp[0],
        igmp_group=_group(igmp[1]) if igmp[1] else None,
        family=family,  # type: ignore[arg-type]  # 4, 6 or None
        fqdn=fqdn,
        asks=asks,
    )


def _group(text: str) -> Address:
    try:
        return Address(str(ip_address(text)))
    except ValueError:
        raise Problem(400, f"igmp_group: {text!r} is not an address; write the address of a multicast group") from None


def asked(protocol: AnyProtocol, method: str, host: str, path: str, sni: str | None) -> Asked | None:
    """The first request on the connection, if any; the path without query and fragment, the host without port.

    Raises:
        Problem: it is not a valid request.
    """
    if not method and sni is None:
        if host or path:
            raise Problem(
                400, "method: missing; host and path belong to an HTTP request, so add its method, such as method=GET"
            )
        return None
    if method and sni is not None:
        raise Problem(
            400, "method, sni: a request inside TLS is encrypted, so only its server name can be checked; leave one out"
        )
    if protocol != "TCP":
        raise Problem(400, f"method, sni: a {protocol} packet has neither; leave them out")
    if sni is not None:
        return TlsHello(sni=sni)
    if path and not path.startswith("/"):
        raise Problem(400, f"path: {path!r} does not begin with /; write /{path}")
    return HttpRequest(method=method, host=host.partition(":")[0], path=path.partition("?")[0].partition("#")[0] or "/")
