"""Words of nftables that its text and its JSON share, and our choices among its numbers."""

from sluice.dataplane.host.table import Side
from sluice.dataplane.protocols import IpProto

LOG_GROUP = 5300
"""Of NFLOG, for the copies of packets that are logged; any that nobody else uses. 0..65535."""

LOG_BYTES = 128
"""Of each such packet: what its line is made of."""

LIMIT = "audit"

MARK_ENDED = 1 << 30
"""In the mark of a connection: it was ended. The other bits are other people's."""

IP = {4: "ip", 6: "ip6"}
ICMP = {4: "icmp", 6: "icmpv6"}
ADDRESS = {4: "ipv4_addr", 6: "ipv6_addr"}
FIELD = {Side.SOURCE: "saddr", Side.DESTINATION: "daddr"}
PORT = {Side.SOURCE: "sport", Side.DESTINATION: "dport"}
TRANSPORT = {IpProto.TCP: "tcp", IpProto.UDP: "udp", IpProto.SCTP: "sctp"}
