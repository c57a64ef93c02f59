"""Pods on a bridge, as a CNI plugin for accelerated bridges leaves them, in the guest that runs this.

A Pod is a network namespace with one end of a veth pair, its VF; the other end, on the bridge, is its representor. All
Pods are held by this one process: a socket stays in the namespace in which it was made.
"""

import contextlib
import ctypes
import itertools
import os
import select
import selectors
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import NamedTuple

BRIDGES = itertools.count()
ANSWER_S = 0.5
"""How long a probe waits. All is in one kernel: what passes takes a millisecond, or twenty without acceleration."""

PORTS = (80, 81, 443, 5000, 5500, 5900, 8080)
"""Where Pods answer, over TCP and UDP."""

CLONE_NEWNET = 0x40000000
IPPROTO_SCTP = 132
SOURCE_PORTS = itertools.cycle(range(20_000, 32_000))  # below those that the kernel gives
_LIBC = ctypes.CDLL(None, use_errno=True)


class Probe(NamedTuple):
    source: str
    """A Pod's name."""

    to: str
    """An address."""

    protocol: str
    """TCP, UDP, SCTP or ICMP."""

    port: int = 0


class Pod(NamedTuple):
    name: str
    mac: str
    addresses: tuple[str, ...]

    @property
    def representor(self) -> str:
        return f"rep-{self.name}"

    @property
    def ifindex(self) -> int:
        return socket.if_nametoindex(self.representor)


class Network:
    """A bridge with Pods on it. Everything is gone when it is closed."""

    def __init__(self, pods: Mapping[str, Sequence[str]]) -> None:
        """Make the Pods with these addresses."""
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.pods = {
            name: Pod(name, f"02:00:00:00:00:{number:02x}", tuple(addresses))
            for number, (name, addresses) in enumerate(pods.items(), start=1)
        }
        self._bridge = f"br{next(BRIDGES)}"
        lines = [f"link add {self._bridge} type bridge mcast_snooping 0", f"link set {self._bridge} up"]
        for pod in self.pods.values():
            lines += [
                f"netns add {pod.name}",
                f"link add {pod.representor} type veth peer name net1 address {pod.mac} netns {pod.name}",
                f"link set {pod.representor} master {self._bridge} up",
            ]
        _ip(lines)
        for pod in self.pods.values():
            nodad = {4: "", 6: " nodad"}
            adds = [f"addr add {one} dev net1{nodad[ip_address(one.split('/')[0]).version]}" for one in pod.addresses]
            _ip([*adds, "link set net1 up", "link set lo up"], pod.name)
        self._served = _Served()
        for pod in self.pods.values():
            self._listen(pod.name)
        self._served.start()

    def close(self) -> None:
        self._served.stop()
        _ip([f"netns del {name}" for name in self.pods])
        _ip([f"link del {self._bridge}"])
        os.close(self._home)

    def _listen(self, pod: str) -> None:
        with self._inside(pod):
            for port in PORTS:
                listener = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
                self._served.add(listener, "accept")
                answers = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
                answers.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
                answers.bind(("::", port))
                self._served.add(answers, "answer")
            for family in (socket.AF_INET, socket.AF_INET6):
                self._served.add(socket.socket(family, socket.SOCK_RAW, IPPROTO_SCTP), "note")

    @contextlib.contextmanager
    def _inside(self, pod: str) -> Iterator[None]:
        there = os.open(f"/run/netns/{pod}", os.O_RDONLY)
        try:
            _enter(there)
            yield
        finally:
            _enter(self._home)
            os.close(there)

    def _socket(self, pod: str, to: str, kind: int, protocol: int = 0) -> socket.socket:
        """A socket in the Pod that does not block, with a source port that no other had."""
        family = socket.AF_INET6 if ip_address(to).version == 6 else socket.AF_INET
        with self._inside(pod):
            made = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        if kind == socket.SOCK_STREAM:  # closing resets, and leaves nothing
            made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if kind != socket.SOCK_RAW:
            made.bind(("", next(SOURCE_PORTS)))
        return made

    def ask(self, *probes: Probe) -> tuple[bool, ...]:
        """Whether each is answered; all at once."""
        return tuple(self.ask_all(probes))

    def ask_all(self, probes: Iterable[Probe]) -> list[bool]:
        asked = [_Asked(probe, *self._begin(probe)) for probe in probes]
        ends = time.monotonic() + ANSWER_S
        while (waiting := [one for one in asked if one.answered is None]) and time.monotonic() < ends:
            waits = [one for one in waiting if one.probe.protocol != "TCP"]
            connects = [one for one in waiting if one.probe.protocol == "TCP"]
            select.select([one.socket for one in waits], [one.socket for one in connects], [], 0.01)
            for one in waiting:
                one.look(self._served)
        for one in asked:
            one.socket.close()
        return [bool(one.answered) for one in asked]

    def _begin(self, probe: Probe) -> tuple[socket.socket, int]:
        """Send it; the socket, and what tells it apart."""
        match probe.protocol:
            case "TCP":
                made = self._socket(probe.source, probe.to, socket.SOCK_STREAM)
                made.connect_ex((probe.to, probe.port))
                return made, 0
            case "UDP":
                made = self._socket(probe.source, probe.to, socket.SOCK_DGRAM)
                _try(lambda: made.sendto(b"ask", (probe.to, probe.port)))
                return made, 0
            case "SCTP":
                made = self._socket(probe.source, probe.to, socket.SOCK_RAW, IPPROTO_SCTP)
                source = next(SOURCE_PORTS)
                _try(lambda: made.sendto(_init(source, probe.port), (probe.to, 0)))
                return made, source
            case "ICMP":
                six = ip_address(probe.to).version == 6
                made = self._socket(
                    probe.source, probe.to, socket.SOCK_RAW, socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
                )
                number = next(SOURCE_PORTS)
                _try(lambda: made.sendto(_echo(128 if six else 8, number), (probe.to, 0)))
                return made, number
            case _:
                raise ValueError(probe.protocol)

    def open(self, pod: str, to: str, port: int) -> socket.socket:
        """A connection that lasts; it must come about."""
        made = self._socket(pod, to, socket.SOCK_STREAM)
        made.settimeout(ANSWER_S)
        made.connect((to, port))
        assert self.lives(made), "what was opened does not answer"
        return made

    def lives(self, connection: socket.socket) -> bool:
        """Whether the connection still carries a word there and back."""
        word = os.urandom(8)
        try:
            connection.send(word)
            heard = b""
            while not heard.endswith(word):  # an earlier word may come late
                heard += connection.recv(1024)
        except TimeoutError:
            return False
        return True

    def send(self, pod: str, frame: bytes) -> None:
        """Send a frame out of the Pod's interface, whatever it is."""
        with self._inside(pod), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
            sender.bind(("net1", 0))
            sender.send(frame)

    @contextlib.contextmanager
    def watched(self, pod: str) -> Iterator[socket.socket]:
        """A socket that hears all frames that come to the Pod's interface."""
        with self._inside(pod):
            heard = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            heard.bind(("net1", 3))
        heard.setblocking(False)
        try:
            yield heard
        finally:
            heard.close()


class _Asked:
    def __init__(self, probe: Probe, sock: socket.socket, mark: int) -> None:
        self.probe, self.socket, self.mark = probe, sock, mark
        self.answered: bool | None = None

    def look(self, served: "_Served") -> None:
        """Note the answer if there is one."""
        with contextlib.suppress(BlockingIOError):
            match self.probe.protocol:
                case "TCP":
                    if select.select([], [self.socket], [], 0)[1]:
                        self.answered = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
                case "UDP":
                    self.answered = self.socket.recv(64) == b"ask"
                case "SCTP":
                    self.answered = self.mark in served.noted or None
                case _:
                    said = self.socket.recv(256)
                    body = said if ip_address(self.probe.to).version == 6 else said[20:]
                    if body[0] in (0, 129) and body[4:6] == struct.pack("!H", self.mark):
                        self.answered = True


class _Served(threading.Thread):
    """Answers in all Pods."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.noted: set[int] = set()
        """Source ports of SCTP packets that came."""

        self._selector = selectors.DefaultSelector()
        self._ends = threading.Event()

    def add(self, sock: socket.socket, what: str) -> None:
        sock.setblocking(False)
        self._selector.register(sock, selectors.EVENT_READ, what)

    def stop(self) -> None:
        self._ends.set()
        self.join()
        for key in list(self._selector.get_map().values()):
            key.fileobj.close()  # type: ignore[union-attr]  # they are sockets
        self._selector.close()

    def run(self) -> None:
        while not self._ends.is_set():
            for key, _ in self._selector.select(0.05):
                sock: socket.socket = key.fileobj  # type: ignore[assignment]  # they are sockets
                with contextlib.suppress(BlockingIOError):
                    self._serve(sock, key.data)

    def _serve(self, sock: socket.socket, what: str) -> None:
        match what:
            case "accept":
                self.add(sock.accept()[0], "echo")
            case "echo":
                try:
                    said = sock.recv(1024)
                except OSError:
                    said = b""
                if said:
                    sock.send(said)
                else:
                    self._selector.unregister(sock)
                    sock.close()
            case "answer":
                said, whence = sock.recvfrom(64)
                sock.sendto(said, whence)
            case "note":
                said = sock.recv(256)
                at = 20 if sock.family == socket.AF_INET else 0
                self.noted.add(int.from_bytes(said[at : at + 2], "big"))


def _enter(namespace: int) -> None:
    if _LIBC.setns(namespace, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _ip(lines: Iterable[str], namespace: str = "") -> None:
    words = ["ip", *(("-n", namespace) if namespace else ()), "-batch", "-"]
    done = subprocess.run(words, input="\n".join(lines) + "\n", text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"


def _try(action: object) -> None:
    with contextlib.suppress(OSError):  # what cannot be sent is not answered
        action()  # type: ignore[operator]  # a function


def _init(source: int, to: int) -> bytes:
    """An SCTP packet with an INIT chunk. Source: RFC 9260 section 3."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65536, 1, 1, 1)
    head = struct.pack("!HHI", source, to, 0)
    checksum = _crc32c(head + bytes(4) + chunk)
    return head + struct.pack("<I", checksum) + chunk


def _crc32c(body: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in body:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 & -(crc & 1))
    return crc ^ 0xFFFFFFFF


def _echo(kind: int, number: int) -> bytes:
    """An echo request of ICMP; the kernel fills in ICMPv6's checksum."""
    body = struct.pack("!BBHHH", kind, 0, 0, number, 1)
    total = sum(struct.unpack("!4H", body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return body[:2] + struct.pack("!H", total ^ 0xFFFF) + body[4:]
