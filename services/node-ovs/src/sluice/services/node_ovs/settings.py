"""What node-ovs reads from its environment: SLUICE_NODE_OVS_*."""

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
    """The node whose programs to apply, as Kubernetes names it."""

    run_dir: str = "/run/openvswitch"
    """Folder of Open vSwitch's sockets: db.sock, <bridge>.mgmt and ovs-vswitchd's control socket."""

    bridge: str = "br-int"

    state_dir: str = "/var/lib/sluice/node-ovs"
    """Where the ids of rules are kept, so that a restart finds its own flows in the switch."""

    hand_over: str = "/run/sluice/l7.json"
    """Where node-l7 says which rule sets are in force. While it says of none, what such rules are about is dropped."""

    resync_interval_s: Annotated[float, Meta(ge=1)] = 60.0
    """Seconds between full read-backs of the switch and of the bus. Lower finds drift sooner; each costs one dump."""

    without_bus: Literal["closed", "open"] = "closed"
    """What becomes of a Pod that comes while the bus is away: `closed`, its port stays so until its policies are known;
    `open`, it may talk as if there were no policies about it. Those of others hold in either case. After a restart
    without the bus every new Pod stays closed."""

    without_bus_after_s: Annotated[float, Meta(ge=0)] = 30.0
    """Seconds without the bus before new Pods are opened, where they are. A server's restart should not open any."""

    stats_interval_s: Annotated[float, Meta(ge=0.1)] = 10.0
    """Seconds between two readings of what rules counted. Each costs about 5 µs of a core for each rule, and a message
    on STATS if there is something new. A switch that restarts loses what it counted since the last."""

    end_denied: bool = False
    """Every policy ends established connections that it comes to deny, as if each had the annotation
    `policy.sluice.dev/established: end`. Each connection of its Pods costs the switch about half a millisecond then,
    whenever the policy or its peers change."""

    reject_rate: Annotated[int, Meta(ge=1)] = 500
    """Packets a second whose senders hear that they are rejected, and twice as many at once; those of the rest wait
    until they give up, as if they were dropped. An answer takes about 0.2 ms of a core."""

    dns_rate: Annotated[int, Meta(ge=1)] = 500
    """Packets a second with answers of DNS to Pods that rules about names apply to, and twice as many at once. The rest
    are dropped and counted; whoever asked asks again. An answer takes about a millisecond of a core."""

    fqdn_opens: Opens = Opens.RESOLVER
    """To whom a rule that allows a name opens an address: `resolver`, the Pod that was told; `ahead`, to every Pod of
    the rule also what the node itself was told; `node`, to every Pod of the rule what any Pod of the node was told."""

    fqdn_min_ttl_s: Annotated[float, Meta(ge=0, le=86_400)] = 5.0
    """Seconds that an answer counts at least. Clients that keep answers for longer than they may need more."""

    fqdn_addresses: Annotated[int, Meta(ge=1)] = 10_000
    """Addresses of names that are kept, of each Pod that was told, in all. Each may be a flow."""

    fqdn_addresses_per_pod: Annotated[int, Meta(ge=1)] = 1_000

    fqdn_servers: str = ""
    """Servers whose answers Pods may get where rules about names apply to them: addresses, with commas between them.
    Empty: any. With it, a Pod that asks a server of its own choosing learns nothing, and opens nothing."""

    fqdn_ahead: bool = True
    """The node asks for names without stars itself, before a Pod does, and again before they end."""

    fqdn_ahead_server: str = ""
    """The server that it asks: an address, or address:port. Empty: the node's own, of /etc/resolv.conf."""

    packet_in_rate: Annotated[int, Meta(ge=1)] = 500
    """Packets a second that are logged where policies ask for it, and twice as many at once. The rest are counted and
    told as lost; nothing happens to them. A line takes about 0.1 ms of a core."""

    igmp_rate: Annotated[int, Meta(ge=1)] = 100
    """Messages of IGMP a second that are read, of all Pods, and twice as many at once. Others are lost, and asked for
    again by the next query."""

    igmp_query_interval_s: Annotated[float, Meta(ge=1)] = 125.0
    """Seconds between two questions to Pods which groups of multicast they have joined (RFC 3376 section 8.2). One that
    ends without a word is forgotten after twice that and ten seconds."""

    def __post_init__(self) -> None:
        _ = self.naming, self.ahead_server  # a ValueError that says which is no address

    @property
    def management_socket(self) -> Path:
        """Where the bridge takes OpenFlow."""
        return Path(self.run_dir, f"{self.bridge}.mgmt")

    @property
    def naming(self) -> NamingRules:
        """How names are dealt with.

        Raises:
            ConfigError: a server is no address.
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
        """Whom the node asks; None: its own servers.

        Raises:
            ConfigError: it is no address, or no port.
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
        raise ConfigError(f"a server of DNS is named by its address: {error}") from error
