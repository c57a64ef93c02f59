"""The verdict for a packet between interfaces on secondary networks: the reference for the compiled programs.

It reads the objects one by one, without the indexes of `sluice.grouping`. Only addresses matter: the holder of an
address is looked up on the policed interface's own network first, and on the others only if it has no holder there.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from sluice.contracts.groups import Member
from sluice.contracts.ids import Address, GroupId, Uid
from sluice.contracts.objects import Pod
from sluice.contracts.programs import BlockPeer, Direction, GroupPeer, PortRange, Program, Rule, TransportTraffic
from sluice.grouping.addresses import Claim, precedence
from sluice.grouping.attachments import interfaces_of
from sluice.grouping.selectors import selects
from sluice.policy.ends import NoSuchEnd
from sluice.policy.packet import AddressEnd, End, Family, Packet, PodEnd, ServiceEnd
from sluice.policy.state import ClusterState


class Holder(NamedTuple):
    """An interface, and its Pod. Its addresses are those that it claims."""

    pod: Pod
    member: Member

    @property
    def network(self) -> str:
        return self.member.attachment.network


class Place(NamedTuple):
    """An end of the packet."""

    holder: Holder | None
    """Unset if the end is not an interface of a Pod."""

    address: Address | None


class Match(NamedTuple):
    program: Program
    rule: Rule


def is_secondary(packet: Packet) -> bool:
    """Whether it goes between interfaces on secondary networks."""
    return any(isinstance(end, PodEnd) and bool(end.network) for end in (packet.source, packet.destination))


class Segment:
    """The interfaces of all Pods, with the addresses that each holds on its network."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        claimed = [Holder(pod, one) for pod in state.pods.values() if pod.on_pod_network for one in interfaces_of(pod)]
        self._on: dict[str, dict[Address, Holder]] = {}
        for holder in sorted(claimed, key=_precedence):
            for address in holder.member.addresses:
                self._on.setdefault(holder.network, {})[address] = holder
        self._all = claimed

    def ends(self, packet: Packet) -> tuple[Place, Place]:
        """Both ends, with addresses of the same family.

        Raises:
            NoSuchEnd: an end has no such interface, or the two have no addresses of the same family.
        """
        ends = packet.source, packet.destination
        home = next(end.network for end in ends if isinstance(end, PodEnd) and end.network)
        (source, from_), (destination, to) = (self._end(end, home) for end in ends)
        wanted: tuple[Family, ...] = (packet.family,) if packet.family else (4, 6)
        for family in wanted:
            one, other = _of_family(from_, family), _of_family(to, family)
            if one and other:
                return Place(source, one), Place(destination, other)
        raise NoSuchEnd(
            f"{_text(ends[0])} ({', '.join(from_)}) to {_text(ends[1])} ({', '.join(to)}): no addresses of the "
            "same family, so no packet can go between them; check the addresses in the network-status of "
            "both"
        )

    def addresses(self, end: PodEnd) -> list[Address]:
        """The addresses that the interface holds.

        Raises:
            NoSuchEnd: there is no such interface.
        """
        return self._end(end, end.network)[1]

    def programs(self, holder: Holder) -> Iterator[Program]:
        """The programs that apply to the interface, in order."""
        for (group, _), program in sorted(self._state.compiler.programs.items()):
            selector = self._state.selectors[group]
            if selector.networks == (holder.network,) and self._selected(holder.pod, group):
                yield program

    def matching(self, holder: Holder, direction: Direction, packet: Packet, other: Address | None) -> Iterator[Match]:
        """The rules that allow the packet; `other` is the address at its other end."""
        for program in self.programs(holder):
            for rule in program.rules:
                if rule.direction is direction and self._allows(rule, holder, packet, other):
                    yield Match(program, rule)

    def _allows(self, rule: Rule, holder: Holder, packet: Packet, other: Address | None) -> bool:
        own = holder.member if rule.direction is Direction.INGRESS else None
        if rule.peers is None:
            return _is(rule, packet, own)
        for peer in rule.peers:
            if isinstance(peer, BlockPeer) and _within(other, peer) and _is(rule, packet, own):
                return True
            if isinstance(peer, GroupPeer):
                for member in self._members_at(peer.group, other):
                    if _is(rule, packet, own or member):
                        return True
        return False

    def _members_at(self, group: GroupId, address: Address | None) -> Iterator[Member]:
        """The members of the group that the address may belong to."""
        networks = self._state.selectors[group].networks
        if address is None:
            return
        first = self._on.get(networks[0], {}).get(address)
        candidates = [first] if first else [self._on.get(network, {}).get(address) for network in networks[1:]]
        for holder in candidates:
            if holder is not None and self._selected(holder.pod, group):
                yield holder.member

    def _selected(self, pod: Pod, group: GroupId) -> bool:
        meta, known = pod.metadata, self._state.namespaces.get(pod.metadata.namespace)
        labels = known.metadata.labels if known else None
        terms = self._state.selectors[group].terms
        return any(selects(term, meta.namespace, labels, meta.labels) for term in terms)

    def _end(self, end: End, home: str) -> tuple[Holder | None, list[Address]]:
        if isinstance(end, AddressEnd):
            return self._on.get(home, {}).get(end.address), [end.address]
        if isinstance(end, ServiceEnd):
            raise NoSuchEnd(f"{_text(end)}: a Service exists only on the Pod network; name a Pod or an address")
        network = end.network or home
        for holder in self._all:
            attachment = holder.member.attachment
            if (
                holder.pod.key == (end.namespace, end.name)
                and attachment.network == network
                and end.interface in ("", attachment.interface)
            ):
                has = [one for one in holder.member.addresses if self._on[network][one].member == holder.member]
                return holder, has
        raise NoSuchEnd(
            f"{_text(end)}: no such interface on {network}; check the annotations {_ANNOTATIONS} of the Pod, and that "
            f"the network is written as NAMESPACE/NAME"
        )


_ANNOTATIONS = "k8s.v1.cni.cncf.io/networks and network-status"


def _precedence(holder: Holder) -> tuple[datetime, Uid, str]:
    meta = holder.pod.metadata
    return precedence(Claim(meta.creation_timestamp, holder.pod.uid, "/".join(holder.pod.key)))


def _is(rule: Rule, packet: Packet, named: Member | None) -> bool:
    """Whether the rule covers the packet's traffic; named ports are those of the receiving interface."""
    if rule.traffic is None:
        return True
    for traffic in rule.traffic:
        if isinstance(traffic, TransportTraffic) and traffic.protocol == packet.protocol:
            match traffic.ports:
                case None:
                    return True
                case PortRange(first, last):
                    if packet.port is not None and first <= packet.port <= last:
                        return True
                case name:
                    wanted = name, packet.protocol, packet.port
                    if named and wanted in [(one.name, one.protocol, one.port) for one in named.ports]:
                        return True
    return False


def _within(address: Address | None, block: BlockPeer) -> bool:
    if address is None:
        return False
    at = ip_address(address)
    return at in ip_network(block.cidr) and not any(at in ip_network(hole) for hole in block.excepts)


def _of_family(addresses: Iterable[Address], family: Family) -> Address | None:
    return next((one for one in addresses if ip_address(one).version == family), None)


def _text(end: End) -> str:
    if isinstance(end, AddressEnd):
        return end.address
    network = end.network if isinstance(end, PodEnd) else ""
    return f"{end.namespace}/{end.name}" + (f" on {network}" if network else "")
