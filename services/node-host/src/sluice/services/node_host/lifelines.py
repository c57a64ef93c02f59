"""The node's lifelines as found on the machine: where NATS and the DNS servers are."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from sluice.contracts.programs import Direction
from sluice.dataplane.addresses import NotAnAddress, address
from sluice.dataplane.host.guard import Lifeline
from sluice.dataplane.protocols import IpProto
from sluice.services.node_host.settings import NodeHostSettings

log = structlog.get_logger()

NATS_PORT, DNS_PORT = 4222, 53

_SERVER = re.compile(r"^\s*nameserver\s+(\S+)", re.MULTILINE)
"""Source: resolv.conf(5)."""


def found(settings: NodeHostSettings) -> tuple[Lifeline, ...]:
    """All lifelines, in order. Blocks on DNS lookups for NATS servers given by name."""
    if not settings.lifelines:
        return ()
    return tuple(dict.fromkeys((*settings.fixed, *_nats(settings.nats_url), *_dns(Path(settings.resolv_conf)))))


def _nats(urls: str) -> Iterator[Lifeline]:
    for url in urls.split(","):
        parts = urlsplit(url.strip() if "//" in url else f"//{url.strip()}")
        port = parts.port or NATS_PORT
        try:
            answers = socket.getaddrinfo(parts.hostname or "localhost", port, type=socket.SOCK_STREAM)
        except OSError as error:
            log.warning("nats_not_found", host=parts.hostname, error=str(error), instead="it has no lifeline")
            continue
        for text in sorted({str(answer[4][0]) for answer in answers}):
            yield from _to("NATS", text, port, IpProto.TCP)


def _dns(resolv_conf: Path) -> Iterator[Lifeline]:
    try:
        said = resolv_conf.read_text(errors="replace")
    except OSError:
        return  # no resolv.conf, so no DNS servers
    for text in dict.fromkeys(_SERVER.findall(said)):
        for protocol in (IpProto.UDP, IpProto.TCP):
            yield from _to("DNS", text, DNS_PORT, protocol)


def _to(title: str, text: str, port: int, protocol: int) -> Iterator[Lifeline]:
    try:
        server = address(text)
    except NotAnAddress:
        return  # scoped to a link; policies do not cover it
    if not _is_loopback(text):
        yield Lifeline(title, Direction.EGRESS, protocol, port, port, server)


def _is_loopback(text: str) -> bool:
    return text.startswith("127.") or text == "::1"
