"""What one part of an Antrea-native rule matches: ports, protocols, HTTP and TLS.

Whatever admission rejects is rejected here again, piece by piece.
"""

from collections.abc import Mapping
from ipaddress import ip_address

from sluice.contracts.antrea import AntreaPort, AntreaProtocol, L7Protocol
from sluice.contracts.ids import Address
from sluice.contracts.l7 import HttpMatch, L7Match, TlsMatch
from sluice.contracts.programs import Action, IcmpTraffic, IgmpTraffic, PortRange, Traffic, TransportTraffic
from sluice.policy.translate.translation import Refused

ACTIONS: Mapping[str, Action] = {
    "Allow": Action.ALLOW,
    "Drop": Action.DROP,
    "Deny": Action.DROP,
    "Reject": Action.REJECT,
    "Pass": Action.PASS,
}
_HIGHEST_PORT = 65_535
"""Source: RFC 9293, section 3.1."""


def of_port(port: AntreaPort) -> Traffic:
    ports: PortRange | str | None
    if isinstance(port.port, str):
        if port.end_port is not None or not port.port:
            raise Refused(
                "a named port must have a name, and cannot begin a range; give port as a number, or remove endPort"
            )
        ports = port.port
    else:
        ports = _range("port", port.port, port.end_port)
    source = _range("sourcePort", port.source_port, port.source_end_port)
    return TransportTraffic(protocol=port.protocol, ports=ports, source_ports=source)


def of_protocol(protocol: AntreaProtocol) -> Traffic:
    icmp, igmp = protocol.icmp, protocol.igmp
    if icmp is not None and igmp is None:
        if not all(number is None or 0 <= number <= 255 for number in (icmp.icmp_type, icmp.icmp_code)):
            raise Refused("ICMP types and codes are 0 to 255; correct the number")
        return IcmpTraffic(icmp_type=icmp.icmp_type, icmp_code=icmp.icmp_code)
    if igmp is not None and icmp is None:
        return IgmpTraffic(igmp_type=igmp.igmp_type, group=_multicast(igmp.group_address))
    raise Refused("an entry must have exactly one protocol; write icmp: {} for all of ICMP, or remove the entry")


def of_l7(protocol: L7Protocol) -> L7Match:
    http, tls = protocol.http, protocol.tls
    if http is not None and tls is None:
        return HttpMatch(method=http.method, host=http.host, path=http.path)
    if tls is not None and http is None:
        return TlsMatch(sni=tls.sni)
    raise Refused("an entry must have exactly one protocol; write http: {} for all of HTTP, or remove the entry")


def _range(name: str, first: int | None, last: int | None) -> PortRange | None:
    if first is None:
        if last is not None:
            raise Refused(f"a range to {last} without {name}: a range needs a first port; give {name}")
        return None
    last = first if last is None else last
    if not 1 <= first <= last <= _HIGHEST_PORT:
        raise Refused(f"{name} {first} to {last}: ports are 1 to 65535, the lower first; correct the numbers")
    return PortRange(first, last)


def _multicast(written: str) -> Address | None:
    if not written:
        return None
    try:
        group = ip_address(written)
    except ValueError as error:
        raise Refused(f"{error}; give the address of a multicast group, such as 225.1.2.3, or leave it out") from error
    if not group.is_multicast:
        raise Refused(
            f"{group} is not a multicast address; give the address of a group, such as 225.1.2.3, or leave it out"
        )
    return Address(str(group))
