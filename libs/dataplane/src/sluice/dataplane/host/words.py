"""Keywords of nftables that text and JSON share, and our choices of its numbers."""

from sluice.dataplane.host.table import Side
from sluice.dataplane.protocols import IpProto

LOG_GROUP = 5300
"""NFLOG group for copies of logged packets; any number that nobody else uses, 0..65535."""

LOG_BYTES = 128
"""Bytes copied of each such packet: enough for its log line."""

LIMIT = "audit"

MARK_ENDED = 1 << 30
"""Bit of the conntrack mark of an ended connection. The other bits are not ours."""

IP = {4: "ip", 6: "ip6"}
ICMP = {4: "icmp", 6: "icmpv6"}
ADDRESS = {4: "ipv4_addr", 6: "ipv6_addr"}
FIELD = {Side.SOURCE: "saddr", Side.DESTINATION: "daddr"}
PORT = {Side.SOURCE: "sport", Side.DESTINATION: "dport"}
TRANSPORT = {IpProto.TCP: "tcp", IpProto.UDP: "udp", IpProto.SCTP: "sctp"}
