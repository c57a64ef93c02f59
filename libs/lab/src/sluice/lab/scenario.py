"""The scenario format: what people write, share, and keep in their own repositories.

The whole format is described here, including what the lab does not support yet; `unsupported` lists that.
"""

import re
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Annotated, Any, Literal, NewType

from msgspec import Meta, field

from sluice.contracts.ids import Address
from sluice.dataplane.audit import np_line
from sluice.lab.parts import Family, Part, PortNumber, ProbeProtocol
from sluice.lab.receiving import DeviceName, Forwarder, Receiver

Expect = Literal["Allowed", "Dropped", "Rejected"]
"""Dropped means no answer to two tries of 250 ms; Rejected, a TCP reset or ICMP administratively prohibited."""

Duration = NewType("Duration", str)
"""In Go's notation: 250ms, 5s, 1m30s."""

OFFLINE = "lab.sluice.dev/offline"
"""The annotation for evaluation by `verdict()` alone."""

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|s|m|h))")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class BadDuration(ValueError):
    """The text is not a duration."""


def seconds(text: Duration) -> float:
    """The duration in seconds.

    Raises:
        BadDuration: it is none.
    """
    if text == "0":
        return 0.0
    if not text or _DURATION.sub("", text):
        raise BadDuration(f"{text!r} is no duration: write 250ms, 5s or 1m30s")
    return sum(float(number) * _UNITS_S[unit] for number, unit in _DURATION.findall(text))


def _check_port(protocol: ProbeProtocol, port: int | None, *, optional: bool) -> None:
    if protocol == "ICMP" and port is not None:
        raise ValueError("ICMP has no ports: remove `port`")
    if protocol != "ICMP" and port is None and not optional:
        raise ValueError(f"{protocol} needs a `port`")


class External(Part, frozen=True, kw_only=True):
    """A host outside the cluster; it answers on every port."""

    name: Annotated[str, Meta(pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    ip: str

    def __post_init__(self) -> None:
        ip_address(self.ip)  # its ValueError explains the problem

    @property
    def address(self) -> Address:
        """In canonical text."""
        return Address(str(ip_address(self.ip)))


class Network(Part, frozen=True, kw_only=True):
    """A secondary network. Pods request an interface on it by the annotation k8s.v1.cni.cncf.io/networks."""

    name: Annotated[str, Meta(pattern="^[a-z0-9][-a-z0-9]*/[a-z0-9][-.a-z0-9]*$")]
    """namespace/name of its NetworkAttachmentDefinition."""

    cidrs: Annotated[tuple[str, ...], Meta(min_length=1)]
    """An interface gets an address from each."""

    trunk: bool = False
    """Frames may have VLAN tags."""

    def __post_init__(self) -> None:
        for cidr in self.cidrs:
            ip_network(cidr)  # its ValueError explains the problem


class DnsRecord(Part, frozen=True, kw_only=True):
    """The answer of the lab's DNS server for a name; without addresses and alias, the name does not exist."""

    ips: tuple[str, ...] = ()
    cname: str = ""
    """The name that it is an alias of."""

    ttl: Annotated[int, Meta(ge=0)] = 5
    """Seconds."""

    def __post_init__(self) -> None:
        for text in self.ips:
            ip_address(text)  # its ValueError explains the problem
        if self.ips and self.cname:
            raise ValueError("an alias has no addresses of its own: write `ips` or `cname`")


def addresses_of(records: Mapping[str, DnsRecord]) -> dict[str, tuple[Address, ...]]:
    """The addresses of each name, following aliases."""
    found = {}
    for name, of_name in records.items():
        record, seen = of_name, {name}
        while record.cname in records and record.cname not in seen:
            seen.add(record.cname)
            record = records[record.cname]
        if record.ips:
            found[name] = tuple(Address(str(ip_address(text))) for text in record.ips)
    return found


class HttpRequest(Part, frozen=True, kw_only=True):
    method: Annotated[str, Meta(pattern="^[!-~]+$")] = "GET"
    path: Annotated[str, Meta(pattern="^/")] = "/"
    """With query and fragment, if any. Characters not allowed in a request are sent percent-encoded."""

    host: Annotated[str, Meta(pattern="^[!-~]*$")] = ""
    """Unset: the destination address."""


class TlsHello(Part, frozen=True, kw_only=True):
    sni: str
    """Empty: the ClientHello has no SNI."""


class IcmpMessage(Part, frozen=True, kw_only=True):
    type: Annotated[int, Meta(ge=0, le=255)]
    code: Annotated[int, Meta(ge=0, le=255)] = 0


class Probe(Part, frozen=True, kw_only=True):
    from_: str = field(name="from")
    to: str
    expect: Expect
    protocol: ProbeProtocol = "TCP"
    port: PortNumber | None = None
    """Required except for ICMP, nodeports (which have their own), HTTP (default 80) and TLS (443)."""

    source_port: PortNumber | None = None
    family: Family | None = None
    """Unset: every family that both ends have."""

    icmp: IcmpMessage | None = None
    http: HttpRequest | None = None
    tls: TlsHello | None = None

    resolve: Literal["UDP", "TCP", "never"] = "UDP"
    """How the sender first resolves the name of an `fqdn:` end; never: it knows the address from before."""

    packets: Annotated[int, Meta(ge=1, le=1_000)] = 1
    """This many at once, each from its own port; UDP and ICMP only, where a probe is one packet and its answer."""

    verdict: Expect | None = None
    """The verdict of policy, if the result differs from it: traffic redirected to a device may not come back."""

    def __post_init__(self) -> None:
        if self.packets > 1 and (self.protocol not in ("UDP", "ICMP") or self.source_port):
            raise ValueError("`packets` goes with protocol: UDP or ICMP, and without `sourcePort`")
        known = self.to.startswith("nodeport:") or self.http is not None or self.tls is not None
        _check_port(self.protocol, self.port, optional=known)
        if self.icmp and self.protocol != "ICMP":
            raise ValueError("`icmp` goes with protocol: ICMP only")
        if (self.http or self.tls) and self.protocol != "TCP":
            raise ValueError("`http` and `tls` go with protocol: TCP only")
        if self.http and self.tls:
            raise ValueError(
                "a request inside TLS is encrypted, so only its server name can be checked: write `http` or `tls`"
            )
        if self.source_port and self.protocol == "ICMP":
            raise ValueError("ICMP has no ports: remove `sourcePort`")


class Connection(Part, frozen=True, kw_only=True):
    """A long-lived connection: one entry opens it (`open`), entries of later steps check it (`check`).

    A connection opened by a request (`http`) is checked by requests, a TLS connection by data inside TLS.
    """

    open: str | None = None
    """Its name. It must be established, otherwise the step fails."""

    check: str | None = None
    """The name of a connection opened before."""

    from_: str = field(name="from", default="")
    to: str = ""
    protocol: Literal["TCP", "UDP"] = "TCP"
    port: PortNumber | None = None
    family: Family | None = None
    """Unset: the first that both ends have, IPv4 before IPv6."""

    http: HttpRequest | None = None
    """The request to send; unset in a check: the one that it was opened with."""

    pipelined: tuple[HttpRequest, ...] = ()
    """Requests to send at once, without waiting; Allowed means that all are answered."""

    tls: TlsHello | None = None
    expect: Expect | None = None

    verdict: Expect | None = None
    """As in a probe."""

    def __post_init__(self) -> None:
        if sum(map(bool, (self.http, self.pipelined, self.tls))) > 1:
            raise ValueError("write one of `http`, `pipelined` and `tls`")
        asks = self.http or self.tls
        if asks and self.protocol != "TCP":
            raise ValueError("`http` and `tls` go with protocol: TCP only")
        match self:
            case Connection(open=str(), check=None, expect=None, pipelined=()) if self.from_ and self.to:
                if self.port or asks:
                    return
            case Connection(open=None, check=str(), port=None, family=None, tls=None) if self.expect:
                if not self.from_ + self.to:
                    return
        raise ValueError("write either {open, from, to, port} or {check, expect}")


class MatrixException(Part, frozen=True, kw_only=True):
    """Shell patterns (`z/*`) of namespace/name."""

    expect: Expect
    from_: str = field(name="from", default="*")
    to: str = "*"


class Matrix(Part, frozen=True, kw_only=True):
    """Every Pod to every other Pod; later exceptions win."""

    default: Expect
    protocol: ProbeProtocol = "TCP"
    port: PortNumber | None = None
    family: Family | None = None
    except_: tuple[MatrixException, ...] = field(name="except", default=())

    def __post_init__(self) -> None:
        _check_port(self.protocol, self.port, optional=False)


class ObjectName(Part, frozen=True, kw_only=True):
    kind: str
    name: str
    api_version: str = ""
    """Unset: whichever API has the kind."""

    namespace: str = ""


class Denial(Part, frozen=True, kw_only=True):
    """What must be refused by admission, and the message (a regular expression, searched anywhere)."""

    message: str = ""
    object: str | dict[str, Any] | None = None  # Any: a Kubernetes object; sluice.kube reads it
    delete: ObjectName | None = None

    def __post_init__(self) -> None:
        if (self.object is None) == (self.delete is None):
            raise ValueError("write either `object` or `delete`")
        _check_message(self.message)


class Reported(Part, frozen=True, kw_only=True):
    """What a node reports about a policy or TrafficControl that it does not realise as written."""

    message: str
    """A regular expression, searched anywhere in the message of the status."""

    on: str = ""
    """The node. Empty: any."""

    def __post_init__(self) -> None:
        _check_message(self.message)


def _check_message(message: str) -> None:
    try:
        re.compile(message)
    except re.error as error:
        raise ValueError(f"message: {message!r} is no regular expression: {error}") from error


class Logged(Part, frozen=True, kw_only=True):
    """A line of np.log that some node writes in this step; or that no node writes."""

    line: str
    """Its fields after date and time, each a shell pattern; `*` alone matches any."""

    on: str = ""
    """The node. Empty: any."""

    absent: bool = False
    """No node writes such a line."""

    packets: int | None = None
    """Number of packets in all matching lines together. Unset: any number."""

    def __post_init__(self) -> None:
        if len(self.line.split()) != len(np_line.FIELDS):
            raise ValueError(
                f"line: {len(self.line.split())} fields, and a line has {len(np_line.FIELDS)} after date and time: "
                f"{', '.join(np_line.FIELDS)}"
            )
        if self.absent and self.packets is not None:
            raise ValueError("write either `absent` or `packets`")


class Step(Part, frozen=True, kw_only=True):
    name: str = ""
    apply: tuple[str | dict[str, Any], ...] = ()  # Any: as above
    delete: tuple[ObjectName, ...] = ()
    wait: Duration = Duration("0s")
    dns: dict[str, DnsRecord] = field(default_factory=dict)
    devices: dict[DeviceName, bool] = field(default_factory=dict)
    """Devices of the spec that are added (true) or removed in this step, before `apply`."""

    problems: tuple[Reported, ...] = ()
    """Each is reported from this step on until the next step that changes anything; no others are."""

    capture: tuple[Receiver, ...] = ()
    connections: tuple[Connection, ...] = ()
    probes: tuple[Probe, ...] = ()
    matrix: Matrix | None = None
    denials: tuple[Denial, ...] = ()
    logs: tuple[Logged, ...] = ()

    def __post_init__(self) -> None:
        seconds(self.wait)


class Spec(Part, frozen=True, kw_only=True):
    nodes: Annotated[tuple[str, ...], Meta(min_length=1)] = ("node-1",)
    objects: tuple[dict[str, Any], ...] = ()  # Any: as above
    manifests: tuple[str, ...] = ()
    externals: tuple[External, ...] = ()
    networks: tuple[Network, ...] = ()
    devices: tuple[DeviceName, ...] = ()
    """Network devices of every node; what the switch sends there arrives at the other end of a link."""

    forwarders: tuple[Forwarder, ...] = ()
    dns: dict[str, DnsRecord] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()

    def __post_init__(self) -> None:
        given: list[str] = [what for each in self.externals for what in (each.name, each.address)]
        if twice := {each for each in given if given.count(each) > 1}:
            raise ValueError(f"externals: {', '.join(sorted(twice))} is given twice")

    @property
    def outside(self) -> Mapping[str, Address]:
        """The addresses of the hosts outside the cluster, by name."""
        return {each.name: each.address for each in self.externals}

    @property
    def asks_dns(self) -> bool:
        """Whether any name is known at any time."""
        return bool(self.dns or any(step.dns for step in self.steps))


class Metadata(Part, frozen=True, kw_only=True):
    name: str
    annotations: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)


class Scenario(Part, frozen=True, kw_only=True):
    api_version: Literal["lab.sluice.dev/v1"]
    kind: Literal["Scenario"]
    metadata: Metadata
    spec: Spec

    @property
    def offline(self) -> bool:
        return self.metadata.annotations.get(OFFLINE) == "true"
