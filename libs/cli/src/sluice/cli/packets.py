"""The packet that a command is about, as given by options."""

from typing import Any

import click

PROTOCOLS = ("TCP", "UDP", "SCTP", "ICMP", "IGMP")
WITHOUT_PORTS = ("ICMP", "IGMP")
END = "NAMESPACE/POD, or an address; NAMESPACE/POD@NETWORK for its interface on a secondary network."

_options = [
    click.option("--from", "source", required=True, metavar="END", help=END),
    click.option(
        "--to", "destination", required=True, metavar="END", help=f"{END} Or svc:NAMESPACE/SERVICE, or its ClusterIP."
    ),
    click.option("--protocol", type=click.Choice(PROTOCOLS, case_sensitive=False), default="TCP", show_default=True),
    click.option("--port", type=click.IntRange(1, 65_535), help="Destination port; not for ICMP and IGMP."),
    click.option("--source-port", type=click.IntRange(1, 65_535)),
    click.option("--icmp-type", type=click.IntRange(0, 255)),
    click.option("--icmp-code", type=click.IntRange(0, 255)),
    click.option("--igmp-type", type=click.IntRange(0, 255), help="17 for a query; 18, 22 or 34 for a report."),
    click.option("--igmp-group", metavar="ADDRESS", help="The multicast group in the message."),
    click.option("--family", type=click.Choice(["4", "6"]), help="IP version, if both ends have addresses of both."),
    click.option("--fqdn", metavar="NAME", help="The name that DNS resolved to this destination for the sender."),
    click.option(
        "--http", metavar="'METHOD HOST/PATH'", help="The connection's first request, such as 'GET foo.bar.com/api'."
    ),
    click.option("--sni", metavar="NAME", help="The server name in the TLS handshake; '' if it has none."),
]


def about_a_packet(command: Any) -> Any:  # Any: as click's own decorators
    """Add these options to the command; their values are the input of `packet`."""
    for option in reversed(_options):
        command = option(command)
    return command


def packet(said: dict[str, Any]) -> Any:  # Any: a Packet, which is imported lazily
    """The packet of these options. An impossible one ends the command."""
    from sluice.policy.packet import Packet

    protocol = said["protocol"]
    if protocol not in WITHOUT_PORTS and said["port"] is None:
        raise click.UsageError(f"--port is missing: a {protocol} packet has a destination port")
    if protocol in WITHOUT_PORTS and (said["port"] or said["source_port"]):
        raise click.UsageError(f"--port and --source-port: an {protocol} packet has no ports; leave them out")
    for of, names in (("ICMP", ("icmp_type", "icmp_code")), ("IGMP", ("igmp_type", "igmp_group"))):
        if protocol != of and any(said[name] is not None for name in names):
            options = " and ".join(f"--{name.replace('_', '-')}" for name in names)
            raise click.UsageError(f"{options}: a {protocol} packet has none; leave them out")
    family: Any = int(said["family"]) if said["family"] else None
    return Packet(
        source=_end(said["source"], "--from"),
        destination=_end(said["destination"], "--to"),
        protocol=protocol,
        port=said["port"],
        source_port=said["source_port"],
        icmp_type=said["icmp_type"],
        icmp_code=said["icmp_code"],
        igmp_type=said["igmp_type"],
        igmp_group=_group(said["igmp_group"]),
        family=family,
        fqdn=said["fqdn"] or "",
        asks=_asked(said["http"], said["sni"], protocol),
    )


def _group(text: str | None) -> Any:
    from ipaddress import ip_address

    from sluice.contracts.ids import Address

    if text is None:
        return None
    try:
        return Address(str(ip_address(text)))
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not an address; write the address of a multicast group", param_hint="--igmp-group"
        ) from None


def words(said: dict[str, Any]) -> str:
    """The packet in readable form."""
    port = f" {said['port']}" if said["port"] else ""
    return f"{said['source']} to {said['destination']}, {said['protocol']}{port}"


def _asked(http: str | None, sni: str | None, protocol: str) -> Any:
    """The request or the handshake, or None for a connection without either."""
    from sluice.policy.l7 import HttpRequest, TlsHello

    if http is None and sni is None:
        return None
    if http is not None and sni is not None:
        raise click.UsageError(
            "--http and --sni: a request inside TLS is encrypted, so only its server name can be checked; leave one out"
        )
    if protocol != "TCP":
        raise click.UsageError(f"--http and --sni: a {protocol} packet has neither; leave them out")
    if sni is not None:
        return TlsHello(sni=sni)
    method, _, rest = (http or "").partition(" ")
    host, slash, path = rest.partition("/")
    if not method or not slash or " " in rest:
        raise click.BadParameter(
            f"{http!r} is not a request; write METHOD HOST/PATH, such as 'GET foo.bar.com/api/v2/x'",
            param_hint="--http",
        )
    return HttpRequest(method=method, host=host.partition(":")[0], path=f"/{path.partition('?')[0].partition('#')[0]}")


def _end(text: str, option: str) -> Any:
    from sluice.policy.packet import ServiceEnd, end

    try:
        found = end(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None
    if isinstance(found, ServiceEnd) and option == "--from":
        raise click.BadParameter(f"{text}: a Service sends no packets itself; name one of its Pods", param_hint=option)
    return found
