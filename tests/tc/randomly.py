"""Random filters and random packets: what the walker says, and what becomes of them in the guest that runs this."""

import random
import socket
import struct
import time
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from tests.tc.network import Network, Pod

from sluice.contracts.programs import PortRange
from sluice.dataplane.addresses import network
from sluice.dataplane.protocols import EthType, IpProto
from sluice.dataplane.tc.filter import (
    Accept,
    AnyAction,
    Bits,
    Ct,
    CtState,
    Drop,
    FilterBody,
    FilterKey,
    Filters,
    Flower,
    Goto,
    Hook,
)
from sluice.dataplane.tc.operations import AddFilter
from sluice.dataplane.tc.owner import ROOT_PREF, CookieKind, chain, pack
from sluice.drivers.tc import messages
from sluice.drivers.tc.hooks import Hooks, Placed
from sluice.testkit.tc_walker import Device, Frame, Tracker

NEAR = ("10.9.0.1", "fd09::1")
FAR = (("10.9.0.2", "fd09::2"), ("10.9.0.3", "fd09::3"), ("10.9.1.9", "fd09:1::9"))
BLOCKS = {4: ("10.9.0.0/24", "10.9.0.2/32", "10.9.0.0/16"), 6: ("fd09::/64", "fd09::2/128", "fd09::/16")}
SETTLE_S = 0.02
"""What passes is there when the sender returns, but for what the kernel puts off to another of its threads."""

CHAINS = 4


class Case(NamedTuple):
    filters: dict[Hook, Filters]
    frames: list[tuple[Frame, bool]]
    """Each with whether the policed Pod sends it; otherwise it is sent to it."""


def case(seed: int, *, zones: bool) -> Case:
    """A program and a conversation; the same for the same seed."""
    chance = random.Random(seed)
    return Case({hook: _filters(chance, zones=zones) for hook in Hook}, _frames(chance, seed))


def _filters(chance: random.Random, *, zones: bool) -> Filters:
    """Chain 0 tracks IP, mostly; in each chain a few filters of distinct preferences, which lead on, and never back."""
    made: Filters = {}
    for number in range(CHAINS):
        where = chain(0, number) if number else 0
        for place in range(1 if number == 0 else chance.randint(1, 5)):
            protocol = EthType.ALL if number == 0 else chance.choice((EthType.IPV4, EthType.IPV6, EthType.ALL))
            match = Flower() if number == 0 else _match(chance, protocol)
            body = FilterBody(_actions(chance, number, zones=zones), pack(CookieKind.BASE, place))
            made[FilterKey(where, ROOT_PREF if number == 0 else 10 + place, protocol, match)] = body
    return made


def _match(chance: random.Random, protocol: int) -> Flower:
    version = {EthType.IPV4: 4, EthType.IPV6: 6}.get(protocol)
    state = chance.choice((None, None, CtState.NEW, CtState.EST, CtState.RPL, CtState.INV))
    known = None if state is None else Bits(state | CtState.TRK, state | CtState.TRK)
    mark = Bits(1, 0xFFFFFFFF) if chance.random() < 0.15 else None
    if version is None:
        return Flower(ct_state=known, ct_mark=mark)
    block = network(chance.choice(BLOCKS[version])) if chance.random() < 0.5 else None
    far = {chance.choice(("source", "destination")): block}
    proto = chance.choice((None, IpProto.TCP, IpProto.UDP, IpProto.ICMP if version == 4 else IpProto.ICMPV6))
    ports = chance.choice((None, PortRange(80, 80), PortRange(80, 90), PortRange(100, 40_000)))
    return Flower(
        ip_proto=proto,
        destination_port=ports if proto in (IpProto.TCP, IpProto.UDP) else None,
        ct_state=known,
        ct_mark=mark,
        **far,  # type: ignore[arg-type]  # addresses
    )


def _actions(chance: random.Random, number: int, *, zones: bool) -> tuple[AnyAction, ...]:
    """Only IP comes, so that everything may be tracked."""
    zone = 7 if zones else None
    on: AnyAction = Goto(chain(0, chance.randint(number + 1, CHAINS)))  # the last is empty
    if number == 0:
        return (Ct(zone=zone), Goto(chain(0, 1)))
    what = chance.random()
    if what < 0.25:
        mark = Bits(chance.randint(1, 2), 0xFFFFFFFF) if chance.random() < 0.7 else None
        return (Ct(zone=zone, commit=True, mark=mark), Accept())
    if what < 0.3:
        return (Accept(),)
    return (Drop(),) if what < 0.75 else (on,)


def _frames(chance: random.Random, seed: int) -> list[tuple[Frame, bool]]:
    """Beginnings of connections from both sides, and answers to some of them; no other seed has such connections."""
    made: list[tuple[Frame, bool]] = []
    for number in range(14):
        outwards, six = chance.random() < 0.5, chance.random() < 0.5
        ends = [NEAR[six], chance.choice(FAR)[six]]
        source, destination = ends if outwards else reversed(ends)
        frame = Frame(EthType.IPV6 if six else EthType.IPV4, _number(source), _number(destination))
        proto = chance.choice((IpProto.TCP, IpProto.UDP, IpProto.UDP, IpProto.ICMP))
        if proto == IpProto.ICMP:
            frame = frame._replace(protocol=IpProto.ICMPV6 if six else IpProto.ICMP, icmp_type=128 if six else 8)
        else:
            port = chance.choice((80, 85, 443))
            frame = frame._replace(protocol=proto, source_port=20_000 + 40 * seed + number, destination_port=port)
        made.append((frame, outwards))
        if proto == IpProto.UDP:
            made += [(frame.turned, not outwards), (frame, outwards)][: chance.randint(0, 2)]
    return made


def _number(address: str) -> int:
    return int(IPv6Address(address) if ":" in address else IPv4Address(address))


def walked(given: Case) -> list[bool]:
    """Whether each frame passes, by the walker."""
    device = Device(given.filters, Tracker())
    return [device.sends(frame) if outwards else device.receives(frame) for frame, outwards in given.frames]


def passed(seeds: tuple[int, ...], zones: bool) -> dict[int, list[bool]]:
    """Whether each frame of each case passes, by the kernel. Nobody answers by itself: the Pods have no addresses."""
    net = Network({"p": [], "q": []})
    driver = Hooks()
    try:
        return {seed: _pass(net, driver, case(seed, zones=zones), seed) for seed in seeds}
    finally:
        driver.close()
        net.close()


def _pass(net: Network, driver: Hooks, given: Case, seed: int) -> list[bool]:
    near, far = net.pods["p"], net.pods["q"]
    driver.open(near.ifindex)
    for hook, filters in given.filters.items():
        steps = [AddFilter(key, 1, body) for key, body in sorted(filters.items(), key=lambda one: -one[0].chain)]
        driver.apply([Placed(messages.hook(near.ifindex, hook), step) for step in steps])
    found = []
    with net.watched("p") as at_near, net.watched("q") as at_far:
        for place, (frame, outwards) in enumerate(given.frames):
            tag = b"sluice" + struct.pack("!II", seed, place)
            source, to = (near, far) if outwards else (far, near)
            net.send(source.name, _bytes(frame, source, to, tag, seed))
            found.append(_heard(at_far if outwards else at_near, tag))
    driver.close_hooks(near.ifindex)
    return found


def _heard(tap: socket.socket, tag: bytes) -> bool:
    ends = time.monotonic() + SETTLE_S
    while True:
        try:
            if tap.recv(2048).endswith(tag):
                return True
        except BlockingIOError:
            if time.monotonic() > ends:
                return False
            time.sleep(0.001)


def _bytes(frame: Frame, source: Pod, to: Pod, tag: bytes, seed: int) -> bytes:
    """The frame as it is on the wire, with right checksums: connection tracking looks at them."""
    six = frame.eth_type == EthType.IPV6
    size = 16 if six else 4
    ends = frame.source.to_bytes(size, "big") + frame.destination.to_bytes(size, "big")
    body = _transport(frame, tag, seed)
    at = {IpProto.TCP: 16, IpProto.UDP: 6, IpProto.ICMP: 2, IpProto.ICMPV6: 2}[frame.protocol]
    pseudo = b"" if frame.protocol == IpProto.ICMP else ends + struct.pack("!IxxxB", len(body), frame.protocol)
    body = body[:at] + struct.pack("!H", _checksum(pseudo + body)) + body[at + 2 :]
    if six:
        head = struct.pack("!IHBB", 6 << 28, len(body), frame.protocol, 64) + ends
    else:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, frame.protocol, 0) + ends
        head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    macs = bytes.fromhex(to.mac.replace(":", "")) + bytes.fromhex(source.mac.replace(":", ""))
    return macs + struct.pack("!H", frame.eth_type) + head + body


def _transport(frame: Frame, tag: bytes, seed: int) -> bytes:
    ports = struct.pack("!HH", frame.source_port, frame.destination_port)
    if frame.protocol == IpProto.TCP:
        return ports + struct.pack("!IIBBHHH", 1, 0, 5 << 4, 0x02, 1024, 0, 0) + tag
    if frame.protocol == IpProto.UDP:
        return ports + struct.pack("!HH", 8 + len(tag), 0) + tag
    return struct.pack("!BBHHH", frame.icmp_type, frame.icmp_code, 0, seed, 1) + tag


def _checksum(body: bytes) -> int:
    body += bytes(len(body) % 2)
    total = sum(struct.unpack(f"!{len(body) // 2}H", body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(total ^ 0xFFFF)
