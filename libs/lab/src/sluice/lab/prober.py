"""The program inside every Pod of the lab: it serves the Pod's ports, and it probes others from the Pod's address.

One process for each Pod, forked by one parent that has imported everything, so that a Pod costs a fork and not the
start of an interpreter. Standard library only, and neither asyncio nor anything of ours: it is started as `python -I
-S prober.py` and reads commands, a JSON object a line, from its standard input:

    {"start": "x/a", "netns": PATH, "socket": PATH, "ports": [80]}   ->   {"started": "x/a", "pid": 4711}
                                                                     or   {"failed": "x/a", "reason": "..."}

Each child then listens on its unix socket, where one line asks and one line answers, in any order:

    {"id": 1, "probe": [{"protocol": "TCP", "address": "10.0.0.2", "port": 80}], "tries": 2, "timeout_ms": 250}
    {"id": 2, "open": {"name": "c1", "protocol": "TCP", "address": "10.0.0.2", "port": 80}, ...}
    {"id": 3, "check": "c1", ...}      {"id": 4, "close": "c1"}
    -> {"id": 1, "results": [{"result": "Allowed", "detail": ""}]}

Results are Allowed, Dropped, Rejected, and Error where no packet says so (nothing listens, no route).
"""

import contextlib
import ctypes
import errno
import functools
import heapq
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator

BACKLOG = 4096
"""Connections that may wait; a matrix opens many at once, and a full backlog looks like a dropped SYN."""

CLONE_NEWNET = 0x40000000
"""Source: linux/sched.h."""

IP_RECVERR, IPV6_RECVERR = 11, 25
MSG_ERRQUEUE = 0x2000
EXTENDED_ERROR = struct.Struct("=IBBBBII")
"""Source: linux/in.h, linux/in6.h, linux/socket.h; linux/errqueue.h, struct sock_extended_err."""

FROM_ICMP, FROM_ICMP6 = 2, 3
"""Source: linux/errqueue.h, SO_EE_ORIGIN_*."""

PROHIBITED = {FROM_ICMP: {(3, 9), (3, 10), (3, 13)}, FROM_ICMP6: {(1, 1), (1, 5), (1, 6)}}
"""(type, code) of "administratively prohibited". Source: RFC 1812 section 5.2.7.1, RFC 4443 section 3.1."""

NO_LISTENER = {FROM_ICMP: (3, 3), FROM_ICMP6: (1, 4)}
"""(type, code) of "port unreachable". Source: RFC 792, RFC 4443 section 3.1."""

ECHO = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}
"""ICMP types of echo request and reply. Source: RFC 792, RFC 4443 section 4."""

FIRST_SOURCE_PORT, LAST_SOURCE_PORT = 20_000, 60_999

Callback = Callable[[], None]
Settled = Callable[[str, str], None]
"""Takes a result and its detail, once."""


class Loop:
    """Readiness of sockets, and timers."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[int], None]] = {}
        self._timers: list[tuple[float, int, Callback]] = []
        self._count = 0

    def watch(self, fd: int, events: int, ready: Callable[[int], None]) -> None:
        self._ready[fd] = ready
        self._epoll.register(fd, events)

    def forget(self, fd: int) -> None:
        if self._ready.pop(fd, None):
            self._epoll.unregister(fd)

    def later(self, delay_s: float, callback: Callback) -> None:
        self._count += 1
        heapq.heappush(self._timers, (time.monotonic() + delay_s, self._count, callback))

    def run(self) -> None:
        while True:
            wait_s = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else -1
            for fd, events in self._epoll.poll(wait_s):
                if ready := self._ready.get(fd):
                    ready(events)
            while self._timers and self._timers[0][0] <= time.monotonic():
                heapq.heappop(self._timers)[2]()


LOOP = Loop()


# ------------------------------------------------------------------------------------------------------------- serving


def serve(port: int) -> None:
    """Answer on TCP and UDP, over every family the machine has."""
    for family in (socket.AF_INET, socket.AF_INET6):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try:
                sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
            except OSError:
                continue  # a kernel without IPv6
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", port))
            if kind == socket.SOCK_STREAM:
                sock.listen(BACKLOG)
            answer = accept if kind == socket.SOCK_STREAM else echo_datagrams
            LOOP.watch(sock.fileno(), select.EPOLLIN, functools.partial(answer, sock))


def accept(listener: socket.socket, _: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            connection.setblocking(False)
            Served(connection)


def echo_datagrams(sock: socket.socket, _: int) -> None:
    with contextlib.suppress(OSError):
        while True:
            data, sender = sock.recvfrom(65_536)
            sock.sendto(data, sender)


class Served:
    """One accepted connection: HTTP requests are answered 200, anything else comes back as it is."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._http = b""
        self._out = b""
        LOOP.watch(connection.fileno(), select.EPOLLIN | select.EPOLLRDHUP, self._ready)

    def _ready(self, events: int) -> None:
        try:
            data = self._connection.recv(65_536)
            if data:
                self._connection.sendall(self._answer(data))
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        LOOP.forget(self._connection.fileno())
        self._connection.close()

    def _answer(self, data: bytes) -> bytes:
        starts = data.split(b" ", 1)[0] in (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH")
        if not self._http and not starts:
            return data
        *whole, self._http = (self._http + data).split(b"\r\n\r\n")
        return b"".join(http_answer(head) for head in whole)


def http_answer(head: bytes) -> bytes:
    body = b"" if head.startswith(b"HEAD") else f"{socket.gethostname()}\n".encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


# ------------------------------------------------------------------------------------------------------------- probing


def source_ports() -> Iterator[int]:
    """A new source port each, so that no probe meets the conntrack entry of another."""
    while True:
        yield from range(FIRST_SOURCE_PORT, LAST_SOURCE_PORT + 1)


SOURCE_PORTS = source_ports()


def family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def bound(family: int, kind: int, source_port: int) -> socket.socket:
    """A non-blocking socket with a source port of its own that keeps the ICMP errors it gets."""
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    if family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    if kind == socket.SOCK_STREAM:
        # Closing resets: no TIME_WAIT keeps the port, no conntrack entry waits for two minutes.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    if source_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", source_port))
        return sock
    for port in SOURCE_PORTS:
        try:
            sock.bind(("", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return sock
    raise AssertionError("the source ports never end")


def icmp_error(sock: socket.socket) -> tuple[int, tuple[int, int]] | None:
    """Origin and (type, code) of the ICMP error the socket got, if any."""
    with contextlib.suppress(OSError):
        _, ancillary, _, _ = sock.recvmsg(512, 512, MSG_ERRQUEUE)
        for level, kind, data in ancillary:
            if (level, kind) in ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)):
                _, origin, icmp_type, code, _, _, _ = EXTENDED_ERROR.unpack_from(data)
                if origin in PROHIBITED:
                    return origin, (icmp_type, code)
    return None


def judge(code: int, icmp: tuple[int, tuple[int, int]] | None) -> tuple[str, str] | None:
    """What an error of a socket means, or None if it settles nothing."""
    if icmp:
        origin, type_code = icmp
        if type_code in PROHIBITED[origin]:
            return "Rejected", "ICMP administratively prohibited"
        if type_code == NO_LISTENER[origin]:
            return "Error", "ICMP port unreachable: the packet arrived, nothing listens there"
        return None
    if code in (errno.ECONNREFUSED, errno.ECONNRESET):
        return "Rejected", "TCP reset"
    if code in (errno.ENETUNREACH, errno.EINVAL, errno.EADDRNOTAVAIL, errno.EADDRINUSE, errno.EACCES, errno.EPERM):
        return "Error", os.strerror(code)
    return None


class Probe:
    """Asks until it is answered, `tries` times; every try is a new socket with a new source port."""

    def __init__(self, what: dict, tries: int, timeout_s: float, settled: Settled) -> None:  # type: ignore[type-arg]
        self._what, self._tries, self._timeout_s, self._settled = what, tries, timeout_s, settled
        self._sock: socket.socket | None = None
        self._round = 0
        self._done = False
        self._next()

    def _next(self) -> None:
        self._close()
        if self._done:
            return
        if self._round == self._tries:
            self._settle("Dropped", "no answer")
            return
        self._round += 1
        LOOP.later(self._timeout_s, self._next)
        try:
            self._sock = self._start()
        except OSError as error:
            verdict = judge(error.errno or 0, None)
            if verdict:
                self._settle(*verdict)

    def _start(self) -> socket.socket:
        address = self._what["address"]
        kind = socket.SOCK_STREAM if self._what["protocol"] == "TCP" else socket.SOCK_DGRAM
        sock = bound(family_of(address), kind, self._what.get("source_port", 0))
        code = sock.connect_ex((address, self._what["port"]))
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            raise OSError(code, os.strerror(code))
        if kind == socket.SOCK_DGRAM:
            sock.send(b"sluice")
        LOOP.watch(sock.fileno(), select.EPOLLIN if kind == socket.SOCK_DGRAM else select.EPOLLOUT, self._ready)
        return sock

    def _ready(self, events: int) -> None:
        assert self._sock is not None
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code or events & select.EPOLLERR:
            if verdict := judge(code, icmp_error(self._sock)):
                self._settle(*verdict)
            elif self._what["protocol"] == "TCP":
                self._close()  # no answer that counts: the socket is dead, the timer starts the next try
            return
        self._settle("Allowed", "")

    def _settle(self, result: str, detail: str) -> None:
        if not self._done:
            self._done = True
            self._close()
            self._settled(result, detail)

    def _close(self) -> None:
        if self._sock is not None:
            LOOP.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None


class Pinger:
    """ICMP echo through one raw socket a family; replies are told apart by their sequence number."""

    def __init__(self, family: socket.AddressFamily) -> None:
        protocol = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
        self._family = family
        self._sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
        self._identifier = os.getpid() & 0xFFFF
        self._sequence = 0
        self._waiting: dict[int, Settled] = {}
        LOOP.watch(self._sock.fileno(), select.EPOLLIN, self._ready)

    def ping(self, address: str, settled: Settled) -> Callback:
        """Send one echo request; the returned function stops waiting for its answer."""
        self._sequence = sequence = (self._sequence + 1) & 0xFFFF
        self._waiting[sequence] = settled
        self._sock.sendto(self._request(sequence), (address, 0))
        return lambda: void(self._waiting.pop(sequence, None))

    def _request(self, sequence: int) -> bytes:
        kind = ECHO[self._family][0]
        packet = struct.pack("!BBHHH6s", kind, 0, 0, self._identifier, sequence, b"sluice")
        if self._family == socket.AF_INET6:
            return packet  # the kernel fills the checksum in
        return struct.pack("!BBHHH6s", kind, 0, checksum(packet), self._identifier, sequence, b"sluice")

    def _ready(self, _: int) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                packet = self._sock.recv(2_048)
                self._read(packet if self._family == socket.AF_INET6 else packet[(packet[0] & 15) * 4 :])

    def _read(self, packet: bytes) -> None:
        if len(packet) < 8:
            return
        kind, code = packet[0], packet[1]
        if kind == ECHO[self._family][1]:
            self._answered(packet, "Allowed", "")
            return
        origin = FROM_ICMP if self._family == socket.AF_INET else FROM_ICMP6
        if (kind, code) in PROHIBITED[origin]:
            inner = packet[8:]
            quoted = inner[40:] if self._family == socket.AF_INET6 else inner[(inner[0] & 15) * 4 :] if inner else b""
            if len(quoted) >= 8 and quoted[0] == ECHO[self._family][0]:
                self._answered(quoted, "Rejected", "ICMP administratively prohibited")

    def _answered(self, echo: bytes, result: str, detail: str) -> None:
        identifier, sequence = struct.unpack_from("!HH", echo, 4)
        if identifier == self._identifier and (settled := self._waiting.pop(sequence, None)):
            settled(result, detail)


def void(_: object) -> None:
    pass


def checksum(packet: bytes) -> int:
    """Source: RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(packet) // 2}H", packet))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


PINGERS: dict[socket.AddressFamily, Pinger] = {}


class Ping:
    """As `Probe`, with echo requests."""

    def __init__(self, what: dict, tries: int, timeout_s: float, settled: Settled) -> None:  # type: ignore[type-arg]
        self._address: str = what["address"]
        self._tries, self._timeout_s, self._settled = tries, timeout_s, settled
        self._cancel: Callback = lambda: None
        self._done = False
        self._next()

    def _next(self) -> None:
        self._cancel()
        if self._done:
            return
        if not self._tries:
            self._settle("Dropped", "no answer")
            return
        self._tries -= 1
        LOOP.later(self._timeout_s, self._next)
        family = family_of(self._address)
        try:
            if family not in PINGERS:
                PINGERS[family] = Pinger(family)
            self._cancel = PINGERS[family].ping(self._address, self._settle)
        except OSError as error:
            if verdict := judge(error.errno or 0, None):
                self._settle(*verdict)

    def _settle(self, result: str, detail: str) -> None:
        if not self._done:
            self._done = True
            self._settled(result, detail)


class LongLived:
    """A connection that stays open; each check sends a line of its own and waits until that comes back."""

    def __init__(self, what: dict) -> None:  # type: ignore[type-arg]
        kind = socket.SOCK_STREAM if what["protocol"] == "TCP" else socket.SOCK_DGRAM
        self._sock = bound(family_of(what["address"]), kind, what.get("source_port", 0))
        self._sock.connect_ex((what["address"], what["port"]))
        self._in = b""
        self._error: tuple[str, str] | None = None
        self._count = 0
        self._waiting: dict[bytes, Settled] = {}
        self._to_send: list[bytes] = []
        self._events = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
        LOOP.watch(self._sock.fileno(), self._events, self._ready)

    def check(self, tries: int, timeout_s: float, settled: Settled) -> None:
        if self._error:
            settled(*self._error)
            return
        if not tries:
            settled("Dropped", "no answer")
            return
        self._count += 1
        line = b"sluice %d\n" % self._count
        self._waiting[line] = settled
        self._to_send.append(line)
        self._send()

        def late() -> None:
            if self._waiting.pop(line, None):
                self.check(tries - 1, timeout_s, settled)

        LOOP.later(timeout_s, late)

    def close(self) -> None:
        LOOP.forget(self._sock.fileno())
        self._sock.close()

    def _send(self) -> None:
        try:
            while self._to_send:
                self._sock.send(self._to_send[0])
                self._to_send.pop(0)
        except (BlockingIOError, BrokenPipeError):
            pass
        except OSError as error:
            self._fail(error.errno or 0)

    def _ready(self, events: int) -> None:
        try:
            while data := self._sock.recv(65_536):
                self._in += data
            self._error = self._error or ("Error", "the other end closed the connection")
        except BlockingIOError:
            pass
        except OSError as error:
            self._fail(error.errno or 0)
        self._send()
        *lines, self._in = self._in.split(b"\n")
        for line in lines:
            if settled := self._waiting.pop(line + b"\n", None):
                settled("Allowed", "")
        if self._error:
            for settled in list(self._waiting.values()):
                settled(*self._error)
            self._waiting.clear()

    def _fail(self, code: int) -> None:
        self._error = self._error or judge(code, icmp_error(self._sock))


LONG_LIVED: dict[str, LongLived] = {}


# ------------------------------------------------------------------------------------------------------------- control


class Client:
    """Whoever asks over the unix socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._in = b""
        LOOP.watch(connection.fileno(), select.EPOLLIN, self._ready)

    def _ready(self, _: int) -> None:
        data = self._connection.recv(65_536)
        if not data:
            LOOP.forget(self._connection.fileno())
            self._connection.close()
            return
        *lines, self._in = (self._in + data).split(b"\n")
        for line in lines:
            self._ask(json.loads(line))

    def _ask(self, request: dict) -> None:  # type: ignore[type-arg]
        tries, timeout_s = request.get("tries", 2), request.get("timeout_ms", 250) / 1000
        match request:
            case {"probe": probes}:
                gathered = Gathered(self, request["id"], len(probes))
                for index, probe in enumerate(probes):
                    kind = Ping if probe["protocol"] == "ICMP" else Probe
                    kind(probe, tries, timeout_s, gathered.at(index))
            case {"open": what}:
                gathered = Gathered(self, request["id"], 1)
                if previous := LONG_LIVED.pop(what["name"], None):
                    previous.close()
                try:
                    LONG_LIVED[what["name"]] = LongLived(what)
                except OSError as error:
                    gathered.at(0)("Error", os.strerror(error.errno or 0))
                else:
                    LONG_LIVED[what["name"]].check(tries, timeout_s, gathered.at(0))
            case {"check": name}:
                gathered = Gathered(self, request["id"], 1)
                if name in LONG_LIVED:
                    LONG_LIVED[name].check(tries, timeout_s, gathered.at(0))
                else:
                    gathered.at(0)("Error", f"no connection {name} is open")
            case {"close": name}:
                if connection := LONG_LIVED.pop(name, None):
                    connection.close()
                self.send({"id": request["id"], "results": []})

    def send(self, answer: dict) -> None:  # type: ignore[type-arg]
        with contextlib.suppress(OSError):  # the asker has gone
            self._connection.sendall(json.dumps(answer).encode() + b"\n")


class Gathered:
    """The results of one request, sent when all are there."""

    def __init__(self, client: Client, request: int, count: int) -> None:
        self._client, self._request = client, request
        self._results: list[dict[str, str] | None] = [None] * count
        self._missing = count
        if not count:
            self._client.send({"id": request, "results": []})

    def at(self, index: int) -> Settled:
        def settled(result: str, detail: str) -> None:
            self._results[index] = {"result": result, "detail": detail}
            self._missing -= 1
            if not self._missing:
                self._client.send({"id": self._request, "results": self._results})

        return settled


# ------------------------------------------------------------------------------------------------------------ starting


def live(order: dict) -> None:  # type: ignore[type-arg]
    """Become the Pod: enter its namespace, serve, answer."""
    if order.get("netns"):
        namespace = os.open(order["netns"], os.O_RDONLY | os.O_CLOEXEC)
        if ctypes.CDLL(None, use_errno=True).setns(namespace, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {order['netns']}: {os.strerror(ctypes.get_errno())}")
        os.close(namespace)
    for port in order["ports"]:
        try:
            serve(port)
        except OSError as error:
            raise OSError(error.errno, f"port {port}: {os.strerror(error.errno or 0)}") from error
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(order["socket"])
    listener.listen(16)
    LOOP.watch(listener.fileno(), select.EPOLLIN, lambda _: void(Client(listener.accept()[0])))


def say(**answer: object) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")  # one write: lines of several children do not mix


def main() -> None:
    global LOOP  # noqa: PLW0603  # each child has its own
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the lab decides when it ends
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for children: the kernel may forget them
    for line in sys.stdin.buffer:
        order = json.loads(line)
        if os.fork():
            continue
        LOOP = Loop()
        try:
            live(order)
        except OSError as error:
            say(failed=order["start"], reason=error.strerror)
            os._exit(1)
        say(started=order["start"], pid=os.getpid())
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 0)
        os.dup2(nowhere, 1)
        LOOP.run()


if __name__ == "__main__":
    main()
