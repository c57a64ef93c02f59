"""Settings of node-ovs, from the environment: SLUICE_NODE_OVS_*."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from sluice.contracts.ids import Address
from sluice.dataplane.dns.message import PORT
from sluice.dataplane.ovs.fqdn import Bounds
from sluice.dataplane.ovs.fqdn_values import Opens
from sluice.runtime.audit_settings import AuditSettings
from sluice.runtime.settings import ConfigError
from sluice.services.node_ovs.naming import NamingRules


class NodeOvsSettings(AuditSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    node_name: str
    """The node whose programs to apply, by its name in Kubernetes."""

    run_dir: str = "/run/openvswitch"
    """Directory of Open vSwitch's sockets: db.sock, <bridge>.mgmt and ovs-vswitchd's control socket."""

    bridge: str = "br-int"

    state_dir: str = "/var/lib/sluice/node-ovs"
    """Directory for state that survives restarts, such as the rule ids, by which a restart finds its own flows."""

    hand_over: str = "/run/sluice/l7.json"
    """The file in which node-l7 lists the rule sets in force. Traffic that needs a rule set not listed is dropped."""

    resync_interval_s: Annotated[float, Meta(ge=1)] = 60.0
    """Seconds between full read-backs of the switch and the bus. Lower finds drift sooner; each costs a flow dump."""

    without_bus: Literal["closed", "open"] = "closed"
    """What happens to a Pod that appears while the bus is away. `closed`: its port stays closed until its policies are
    known; `open`: it may talk as if no policy applied to it; policies of other Pods still hold. After a restart without
    the bus every new Pod stays closed."""

    without_bus_after_s: Annotated[float, Meta(ge=0)] = 30.0
    """Seconds without the bus before new Pods are opened, if they are. Should outlast the restart of a NATS server."""

    stats_interval_s: Annotated[float, Meta(ge=0.1)] = 10.0
    """Seconds between two readings of the rule counters. Each takes about 5 µs of a core per rule, plus a message on
    STATS if anything changed. If the switch restarts, counts since the last reading are lost."""

    end_denied: bool = False
    """Every policy ends established connections that it comes to deny, as if it had the annotation
    `policy.sluice.dev/established: end`. Each connection of its Pods then costs the switch about half a millisecond
    whenever the policy or its peers change."""

    reject_rate: Annotated[int, Meta(ge=1)] = 500
    """Packets per second whose senders are told that they are rejected, with a burst of twice as many. Other senders
    run into their timeouts, as if the packets were dropped. An answer takes about 0.2 ms of a core."""

    dns_rate: Annotated[int, Meta(ge=1)] = 500
    """Packets per second with DNS responses to Pods that FQDN rules apply to, with a burst of twice as many. The rest
    are dropped and counted; the client asks again. A response takes about a millisecond of a core."""

    fqdn_opens: Opens = Opens.RESOLVER
    """For whom a rule that allows a name opens an address: `resolver`, the Pod that got the response; `ahead`, in
    addition every Pod of the rule for responses to the node itself; `node`, every Pod of the rule for responses to any
    Pod of the node."""

    fqdn_min_ttl_s: Annotated[float, Meta(ge=0, le=86_400)] = 5.0
    """Minimum lifetime of a DNS response, in seconds. Raise it for clients that keep responses beyond their TTL."""

    fqdn_addresses: Annotated[int, Meta(ge=1)] = 10_000
    """Maximum number of resolved addresses in total, counted per Pod that was told. Each may need a flow."""

    fqdn_addresses_per_pod: Annotated[int, Meta(ge=1)] = 1_000

    fqdn_servers: str = ""
    """DNS servers whose responses may reach Pods that FQDN rules apply to: addresses, comma-separated. Empty: any. If
    set, a Pod that asks a server of its own choosing gets no response, and opens nothing."""

    fqdn_ahead: bool = True
    """The node resolves names without wildcards itself, before a Pod does, and again before they expire."""

    fqdn_ahead_server: str = ""
    """The server for that: an address, or address:port. Empty: the node's own, from /etc/resolv.conf."""

    packet_in_rate: Annotated[int, Meta(ge=1)] = 500
    """Packets per second that are logged where policies request it, with a burst of twice as many. The rest are counted
    and reported as lost, but forwarded as usual. A line takes about 0.1 ms of a core."""

    igmp_rate: Annotated[int, Meta(ge=1)] = 100
    """IGMP messages per second that are read, over all Pods, with a burst of twice as many. The rest are lost; the next
    query makes up for them."""

    igmp_query_interval_s: Annotated[float, Meta(ge=1)] = 125.0
    """Seconds between IGMP queries to Pods (RFC 3376 section 8.2). A membership that ends without a leave message is
    forgotten after twice that plus ten seconds."""

    def __post_init__(self) -> None:
        _ = self.naming, self.ahead_server  # raises a ConfigError that names the invalid address

    @property
    def management_socket(self) -> Path:
        """The bridge's OpenFlow socket."""
        return Path(self.run_dir, f"{self.bridge}.mgmt")

    @property
    def naming(self) -> NamingRules:
        """How FQDN rules are handled.

        Raises:
            ConfigError: a server is not a valid address.
        """
        servers = [text.strip() for text in self.fqdn_servers.split(",") if text.strip()]
        for text in servers:
            _check_address(text)
        return NamingRules(
            opens=self.fqdn_opens,
            bounds=Bounds(self.fqdn_min_ttl_s, self.fqdn_addresses, self.fqdn_addresses_per_pod),
            servers=tuple(map(Address, servers)),
            ahead=self.fqdn_ahead,
        )

    @property
    def ahead_server(self) -> tuple[str, int] | None:
        """The DNS server that the node asks; None: its own name servers.

        Raises:
            ConfigError: not a valid address or port.
        """
        if not self.fqdn_ahead_server:
            return None
        try:
            parts = urlsplit(f"//{self.fqdn_ahead_server}")
            address, port = (parts.hostname or "", parts.port) if self._has_port else (self.fqdn_ahead_server, PORT)
        except ValueError as error:
            raise ConfigError(
                f"FQDN_AHEAD_SERVER: {error}; write 192.0.2.1, 192.0.2.1:53 or [2001:db8::1]:53"
            ) from error
        _check_address(address)
        return address, port or PORT

    @property
    def _has_port(self) -> bool:
        return self.fqdn_ahead_server.count(":") == 1 or self.fqdn_ahead_server.startswith("[")


def _check_address(text: str) -> None:
    try:
        ip_address(text)
    except ValueError as error:
        raise ConfigError(f"a DNS server is given by its address: {error}") from error
