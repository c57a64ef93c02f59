"""The checks of a step as single questions from one Pod to another."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from sluice.contracts.ids import Address, NodeName
from sluice.lab.capture import counting
from sluice.lab.ends import NAME_END, NODE_END, NODE_PORT_END, Ends, end_of
from sluice.lab.nameserver import SERVERS
from sluice.lab.parts import Family, ProbeProtocol
from sluice.lab.receiving import Receiver
from sluice.lab.scenario import Connection, Expect, HttpRequest, IcmpMessage, Matrix, Probe, Step, TlsHello
from sluice.lab.world import Placed

Got = Literal["Allowed", "Dropped", "Rejected", "Error"]
"""Error means that the network does not say what became of the packet: nothing listens, or the prober died."""

Pods = Mapping[str, Placed]
"""By namespace/name."""

HTTP_PORT, TLS_PORT = 80, 443
"""Default ports of HTTP and TLS probes. Source: RFC 9110, section 4.2."""


class BadCheck(ValueError):
    """The question cannot be asked. The message says why and what to do; `path` is the place within the step."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(reason)
        self.path, self.reason = path, reason


class Resolve(Struct, frozen=True, kw_only=True):
    """A name to resolve first; the packet goes to the resolved address."""

    name: str
    server: Address
    by: Literal["UDP", "TCP"]


class Question(Struct, frozen=True, kw_only=True):
    """One packet to send, and its expected result."""

    kind: Literal["probe", "matrix"]
    from_: str
    to: str
    what: str
    """For display: TCP 80, ICMP, UDP 53 IPv6."""

    expect: Expect
    protocol: ProbeProtocol
    source: Address
    address: Address
    port: int = 0
    source_port: int = 0
    """0 means any free port."""

    icmp: IcmpMessage | None = None
    """None means an echo request."""

    node: NodeName = NodeName("")
    """The node whose NodePort is used."""

    masked: Address | None = None
    """The source address that an endpoint on another node sees."""

    asks: HttpRequest | TlsHello | None = None
    """What to send on the connection."""

    pipelined: tuple[HttpRequest, ...] = ()
    """Requests to send right behind it."""

    resolve: Resolve | None = None
    """The name to resolve first."""

    packets: int = 1
    """Sent at once, each from a source port of its own."""

    verdict: Expect | None = None
    """The verdict of policy, if the expected result differs from it."""


def family(address: Address) -> Family:
    return "IPv6" if ":" in address else "IPv4"


def probes(step: Step, ends: Ends) -> Iterator[Question]:
    """The probes of a step, one question per family.

    Raises:
        BadCheck: an end of a probe does not exist, or has no address of the family.
    """
    for index, probe in enumerate(step.probes):
        path = f".probes[{index}]"
        source = _end(ends, probe.from_, f"{path}.from")
        target = _end(ends, probe.to, f"{path}.to")
        for question in _questions(probe, source, target, path):
            gateways = ends[f"{NODE_END}{target.node}"].addresses if target.pod.startswith(NODE_PORT_END) else ()
            masks = [address for address in gateways if family(address) == family(question.address)]
            yield replace(question, node=target.node, masked=masks[0]) if masks else question


def matrix(step: Step, pods: Pods) -> Iterator[Question]:
    """Questions from every Pod to every other Pod, row by row.

    Raises:
        BadCheck: a pattern selects no Pod, or a Pod cannot be probed.
    """
    if step.matrix is None:
        return
    asked = step.matrix
    for index, exception in enumerate(asked.except_):
        for field, pattern in (("from", exception.from_), ("to", exception.to)):
            if not any(fnmatchcase(name, pattern) for name in pods):
                raise BadCheck(f".matrix.except[{index}].{field}", f"{pattern}: no Pod is called that")
    for name in pods:
        _on_pod_network(pods, name)
    for source in sorted(pods):
        for target in sorted(pods):
            if source != target:
                probe = Probe(
                    from_=source,
                    to=target,
                    expect=expected(asked, source, target),
                    protocol=asked.protocol,
                    port=asked.port,
                    family=asked.family,
                )
                yield from _questions(probe, pods[source], pods[target], ".matrix", "matrix")


def expected(asked: Matrix, source: str, target: str) -> Expect:
    """The matrix's expectation for a pair: the last matching exception, else the default."""
    for exception in reversed(asked.except_):
        if fnmatchcase(source, exception.from_) and fnmatchcase(target, exception.to):
            return exception.expect
    return asked.default


def opening(connection: Connection, ends: Ends) -> Question:
    """The question that opens the connection.

    Raises:
        BadCheck: an end of it does not exist, or they have no family in common.
    """
    source = _end(ends, connection.from_, ".from")
    target = _end(ends, connection.to, ".to")
    chosen, *_ = _families(source, target, connection.family, "")
    probe = Probe(
        from_=connection.from_,
        to=connection.to,
        expect="Allowed",
        protocol=connection.protocol,
        port=connection.port,
        family=connection.family,
        http=connection.http,
        tls=connection.tls,
        resolve="never",
    )
    return _question(probe, source, target, chosen)


def checking(connection: Connection, opened: Question) -> Question:
    """The question of a check on a connection that was opened by `opened`.

    Raises:
        BadCheck: it asks for HTTP on a connection opened by something else.
    """
    requests = (connection.http,) if connection.http else connection.pipelined
    if not requests:
        return opened
    if not isinstance(opened.asks, HttpRequest):
        raise BadCheck(".check", f"{connection.check}: it was not opened by a request: open it with `http`")
    first, *others = requests
    what = f"{opened.protocol} {opened.port} {' + '.join(map(_words, (first, *others)))}"
    return replace(opened, asks=first, pipelined=tuple(others), what=what)


def ends_at(receiver: Receiver, ends: Ends) -> counting.Ends:
    """The sender and destination whose packets are counted.

    Raises:
        BadCheck: an end does not exist.
    """
    given = ((receiver.from_, ".from"), (receiver.to, ".to"))
    return counting.Ends(*(frozenset(_end(ends, name, at).addresses) if name else None for name, at in given))


def names_of(ends: Ends) -> dict[Address, str]:
    """The names of addresses; if several ends share one, the last."""
    return {address: name for name, end in ends.items() for address in end.addresses}


def _questions(
    probe: Probe, source: Placed, target: Placed, path: str, kind: Literal["probe", "matrix"] = "probe"
) -> Iterator[Question]:
    families = _families(source, target, probe.family or _family_of(probe.icmp), path)
    for each in families:
        question = _question(probe, source, target, each, kind)
        yield question if len(families) == 1 else replace(question, what=f"{question.what} {each}")


def _question(
    probe: Probe, source: Placed, target: Placed, chosen: Family, kind: Literal["probe", "matrix"] = "probe"
) -> Question:
    icmp = f"type {probe.icmp.type} code {probe.icmp.code}" if probe.icmp else ""
    own = target.ports[0] if target.pod.startswith(NODE_PORT_END) else 0
    port = probe.port or own or (HTTP_PORT if probe.http else TLS_PORT if probe.tls else 0)
    times = f"{probe.packets} x" if probe.packets > 1 else ""
    words = [times, probe.protocol, str(port or ""), icmp, _asking(probe), probe.family or ""]
    return Question(
        kind=kind,
        from_=source.pod,
        to=target.pod,
        what=" ".join(word for word in words if word),
        expect=probe.expect,
        protocol=probe.protocol,
        source=_address(source, chosen),
        address=_address(target, chosen, last=target.pod.startswith(NODE_END)),
        port=port,
        source_port=probe.source_port or 0,
        icmp=probe.icmp,
        asks=probe.http or probe.tls,
        resolve=_resolve(probe, target, chosen),
        packets=probe.packets,
        verdict=probe.verdict,
    )


def _resolve(probe: Probe, target: Placed, chosen: Family) -> Resolve | None:
    if not target.pod.startswith(NAME_END) or probe.resolve == "never":
        return None
    return Resolve(name=target.pod.removeprefix(NAME_END), server=SERVERS[chosen], by=probe.resolve)


def _words(request: HttpRequest) -> str:
    return f"{request.method} {request.host}{request.path}"


def _asking(probe: Probe) -> str:
    if probe.http:
        return _words(probe.http)
    return f"hello {probe.tls.sni}" if probe.tls else ""


def _family_of(icmp: IcmpMessage | None) -> Family | None:
    """The family of this ICMP type; ICMPv6 has the types from 128 on. Source: RFC 792, RFC 4443."""
    if icmp is None:
        return None
    return "IPv6" if icmp.type >= 128 else "IPv4"


def _families(source: Placed, target: Placed, wanted: Family | None, path: str) -> list[Family]:
    common = sorted({family(address) for address in source.addresses} & {family(each) for each in target.addresses})
    if wanted is None and common:
        return list(common)
    if wanted is not None and wanted in common:
        return [wanted]
    raise BadCheck(
        path,
        f"{source.pod} ({', '.join(source.addresses)}) and {target.pod} ({', '.join(target.addresses)}) "
        f"do not both have {wanted or 'a family in common'}: give them addresses in status.podIPs",
    )


def _address(pod: Placed, wanted: Family, *, last: bool = False) -> Address:
    found = [address for address in pod.addresses if family(address) == wanted]
    return found[-1 if last else 0]


def _end(ends: Ends, name: str, path: str) -> Placed:
    end = end_of(ends, name)
    if end is None:
        raise BadCheck(path, f"{name}: no such end of a packet in this step ({', '.join(sorted(ends))})")
    return end


def _on_pod_network(pods: Pods, name: str) -> None:
    if pods[name].host_network:
        raise BadCheck(".matrix", f"{name}: it is on the host's network, where only probes begin and end")
