"""A packet's path as the switch reports it (`ofproto/trace`): how to ask, and how to read the answer.

Source: ovs-vswitchd(8), ofproto/trace. The switch answers with one text for each pass through the pipeline: a packet
sent to the connection tracker passes again, with the tracker's state as given by `--ct-next`.
"""

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import NamedTuple

from sluice.contracts.ids import Address
from sluice.contracts.tracing import State, Traced
from sluice.dataplane.addresses import address
from sluice.dataplane.ovs.conntrack import MARK_LET_IN
from sluice.dataplane.ovs.errand import Errand
from sluice.dataplane.ovs.fields import TCP_SYN, Field
from sluice.dataplane.ovs.pipeline import VIRTUAL_MAC, Table
from sluice.dataplane.ovs.ports import mac
from sluice.dataplane.ovs.text import write_packet
from sluice.dataplane.protocols import EthType, IpProto

PASSES = 10
"""No packet goes through the tracker more often than this."""

_TTL = "nw_ttl=64"
"""The default is 0, which dec_ttl refuses."""

_STATES: Mapping[State, str] = {"new": "trk,new", "established": "trk,est", "reply": "trk,est,rpl"}
_PORTS = {
    "TCP": (IpProto.TCP, Field.TCP_SRC, Field.TCP_DST),
    "UDP": (IpProto.UDP, Field.UDP_SRC, Field.UDP_DST),
    "SCTP": (IpProto.SCTP, Field.SCTP_SRC, Field.SCTP_DST),
}
_ICMP = {
    4: (IpProto.ICMP, Field.ICMP_TYPE, Field.ICMP_CODE, 8),
    6: (IpProto.ICMPV6, Field.ICMPV6_TYPE, Field.ICMPV6_CODE, 128),
}
"""With the type of an echo request. Source: RFC 792, RFC 4443 section 4.1."""

_HOP = re.compile(r"^(?P<indent> *)(?P<table>\d+)\. (?:(?P<match>.*?), )?priority (?P<priority>\d+)(?P<rest>.*)$")
_NO_FLOW = re.compile(r"^ *(?P<table>\d+)\. No match\.?$")
_BRIDGE = re.compile(r'^ *bridge\("(.*)"\)$')
_COOKIE = re.compile(r"cookie (0x[0-9a-f]+)")
_OUTPUT = re.compile(r"^\s*-> output port is (\d+)$")
_TUNNEL_END = re.compile(r"^set_field:(\S+)->tun_(?:ipv6_)?dst$")
_OUTPUT_TO = re.compile(r"^\s*output:(\d+)$")


class NotTraceable(ValueError):
    """The switch cannot trace this packet. The message says what to do."""


class Plug(NamedTuple):
    """Where a packet comes in."""

    ofport: int
    mac: str = ""
    """The sender's MAC; empty where the switch does not check it."""

    tunnel_from: Address | None = None


class Met(NamedTuple):
    """A flow that the packet hit; without a cookie: no flow of the table matched."""

    table: int
    match: str
    priority: int
    cookie: int | None
    actions: tuple[str, ...]


class Way(NamedTuple):
    """The packet's path, as the switch reports it."""

    met: tuple[Met, ...]
    ports: tuple[int, ...]
    """The ports that it was sent out of."""

    tunnel_ends: tuple[Address, ...]
    """The remote ends of the tunnel that it was sent to."""

    rejected: bool
    packet: Traced


def question(plug: Plug, packet: Traced, state: State, choice: int) -> tuple[str, ...]:
    """The arguments of ofproto/trace, after the bridge.

    Raises:
        NotTraceable, NotAnAddress
    """
    source, target = address(packet.source), address(packet.destination)
    if source.version != target.version:
        raise NotTraceable(f"{packet.source} and {packet.destination} have different IP versions; give two of the same")
    v4 = source.version == 4
    fields: dict[Field, int] = {
        Field.IN_PORT: plug.ofport,
        Field.ETH_SRC: mac(plug.mac) if plug.mac else 0,
        Field.ETH_DST: VIRTUAL_MAC,
        Field.ETH_TYPE: EthType.IPV4 if v4 else EthType.IPV6,
        (Field.IPV4_SRC if v4 else Field.IPV6_SRC): source.value,
        (Field.IPV4_DST if v4 else Field.IPV6_DST): target.value,
    }
    if plug.tunnel_from is not None:
        end = address(plug.tunnel_from)
        fields[Field.TUN_SRC if end.version == 4 else Field.TUN_IPV6_SRC] = end.value
    match packet.protocol:
        case "TCP" | "UDP" | "SCTP":
            number, from_port, to_port = _PORTS[packet.protocol]
            fields |= {Field.IP_PROTO: number, from_port: packet.source_port, to_port: packet.port}
            fields |= {Field.TCP_FLAGS: TCP_SYN} if packet.protocol == "TCP" and state == "new" else {}
        case "ICMP":
            number, type_field, code_field, echo = _ICMP[source.version]
            kind = echo if packet.icmp_type is None else packet.icmp_type
            fields |= {Field.IP_PROTO: number, type_field: kind, code_field: packet.icmp_code}
        case _:
            raise NotTraceable(
                f"{packet.protocol}: its messages are handled by node-ovs and not by flows, so they cannot be "
                "traced; use `sluice verdict`"
            )
    if state != "new":
        fields[Field.CT_MARK] = MARK_LET_IN
    # A select group chooses a bucket by dp_hash, which a trace does not compute.
    flow = f"{write_packet(fields)},{_TTL},dp_hash={choice:#x}"
    return (flow, *(word for _ in range(PASSES) for word in ("--ct-next", _STATES[state])))


def read(said: str, asked: Traced, in_port: int, bridge: str) -> Way:
    """The packet's path within this bridge, as the switch reports it: a tunnel leads to another bridge.

    Raises:
        NotTraceable: the text is not a trace.
    """
    if "Final flow" not in said:
        raise NotTraceable(f"the switch does not tell the packet's way: {said.strip()[:200]}")
    said = "\n".join(_within(said, bridge))
    met = tuple(_met(said))
    ports = tuple(in_port if port is None else port for port in _outputs(said))
    ends = [Address(found[1]) for one in met for action in one.actions if (found := _TUNNEL_END.match(action))]
    reject = f"controller(userdata={Errand.REJECT:02x}"
    rejected = any(action.startswith(reject) for one in met for action in one.actions)
    return Way(met, ports, tuple(dict.fromkeys(ends)) if ports else (), rejected, _packet(said, asked))


def _within(said: str, bridge: str) -> Iterator[str]:
    inside = True
    for line in said.splitlines():
        if found := _BRIDGE.match(line):
            inside = found[1] == bridge
        elif line.startswith(("Final flow: ", "Flow: ")):
            inside = True
        if inside:
            yield line


def _met(said: str) -> Iterator[Met]:
    lines = said.splitlines()
    for place, line in enumerate(lines):
        if nowhere := _NO_FLOW.match(line):
            yield Met(int(nowhere["table"]), "", 0, None, ())
        elif hop := _HOP.match(line):
            depth = len(hop["indent"]) // 4 * 4 + 4  # table numbers are right-aligned
            cookie = _COOKIE.search(hop["rest"])
            yield Met(
                int(hop["table"]),
                hop["match"] or "",
                int(hop["priority"]),
                int(cookie[1], 16) if cookie else 0,
                tuple(_actions(lines[place + 1 :], depth)),
            )


def _actions(after: list[str], depth: int) -> Iterator[str]:
    """The flow's actions, from the lines after it.

    Effects of an action are indented further, or begin with an arrow; actions within ct() are listed a second time.
    """
    tracker = ""
    for line in after:
        if not line.strip() or _HOP.match(line) or _NO_FLOW.match(line):
            return
        word = line.strip()
        if len(line) - len(line.lstrip()) != depth or word.startswith("->") or word in tracker or word == "drop":
            continue
        tracker = word if word.startswith("ct(") else tracker
        yield word


def _outputs(said: str) -> Iterator[int | None]:
    """Ports that packets were sent to; None for the one that the packet came from."""
    for part in said.split("\nFlow: "):
        for line in part.splitlines():
            if found := _OUTPUT.match(line) or _OUTPUT_TO.match(line):
                yield int(found[1])
        if any(one.table == Table.OUTPUT and "IN_PORT" in one.actions for one in _met(part)):
            yield None


def _flow(part: str) -> Mapping[str, str]:
    """Fields of the packet at the end of this pass."""
    lines = part.splitlines()
    final = next((line.removeprefix("Final flow: ") for line in lines if line.startswith("Final flow: ")), "unchanged")
    text = lines[0].removeprefix("Flow: ") if final == "unchanged" else final
    return dict(word.partition("=")[::2] for word in text.split(","))


def _packet(said: str, asked: Traced) -> Traced:
    """The packet as it was last seen."""
    flow = _flow(said.rsplit("\nFlow: ", maxsplit=1)[-1])
    source, target = (
        next((flow[name] for name in names if name in flow), default)
        for names, default in (
            (("nw_src", "ipv6_src"), asked.source),
            (("nw_dst", "ipv6_dst"), asked.destination),
        )
    )
    plain = asked.protocol not in _PORTS
    return Traced(
        source=Address(str(ip_address(source))),
        destination=Address(str(ip_address(target))),
        protocol=asked.protocol,
        port=asked.port if plain else int(flow.get("tp_dst", asked.port)),
        source_port=asked.source_port if plain else int(flow.get("tp_src", asked.source_port)),
        icmp_type=asked.icmp_type,
        icmp_code=asked.icmp_code,
    )
