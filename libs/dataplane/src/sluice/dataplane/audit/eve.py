"""A line of eve.json, the event log of the inspection engine.

Source: Suricata user guide, "Eve JSON Format"; the lines of docs "Antrea Layer 7 NetworkPolicy", "Logs".
"""

from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Struct

from sluice.contracts.audit import Inspection
from sluice.contracts.ids import Address
from sluice.dataplane.audit.np_line import NotALine, unit_of
from sluice.dataplane.l7.ruleset import DENIAL

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Alert(Struct, frozen=True):
    signature: str = ""
    action: str = ""


class _Http(Struct, frozen=True):
    hostname: str = ""
    url: str = ""
    http_method: str = ""
    status: int | None = None


class _Tls(Struct, frozen=True):
    sni: str = ""


class _Event(Struct, frozen=True):
    timestamp: str
    event_type: str
    src_ip: Address
    dest_ip: Address
    proto: str
    flow_id: int = 0
    src_port: int | None = None
    dest_port: int | None = None
    vlan: tuple[int, ...] = ()
    alert: _Alert | None = None
    http: _Http = _Http()
    tls: _Tls = _Tls()
    packet: str = ""


_decoder = msgspec.json.Decoder(_Event)


def read(line: bytes) -> Inspection:
    """Parse an event.

    Raises:
        NotALine: it does not parse.
    """
    try:
        event = _decoder.decode(line)
        when = datetime.strptime(event.timestamp, "%Y-%m-%dT%H:%M:%S.%f%z")
    except (msgspec.DecodeError, ValueError) as error:
        raise NotALine(str(error)) from error
    said = event.alert.signature if event.alert else ""
    policy = said.removeprefix(DENIAL) if said.startswith(DENIAL) else ""
    return Inspection(
        at_us=(when - _EPOCH) // timedelta(microseconds=1),
        event=event.event_type,
        source=event.src_ip,
        source_port=event.src_port,
        destination=event.dest_ip,
        destination_port=event.dest_port,
        protocol=event.proto,
        flow=event.flow_id,
        vlan=event.vlan[0] if event.vlan else None,
        policy=policy,
        unit=unit_of(policy),
        allowed=_allowed(event),
        host=event.http.hostname,
        method=event.http.http_method,
        url=event.http.url,
        status=event.http.status,
        sni=event.tls.sni,
        packet=event.packet,
    )


def _allowed(event: _Event) -> bool | None:
    match event.event_type:
        case "http" | "tls":
            return True  # the engine logs them when complete, and denied ones never are
        case "alert" | "drop":
            return False
        case _:
            return None
