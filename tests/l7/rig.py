"""A real engine between two Pods: Suricata behind a switch, a server that answers, and clients that misbehave.

What node-l7 and node-ovs do together in production is done by hand here, so that rule sets are judged by themselves.
"""

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, Self, TypeVar

from msgspec import json
from tests.l7.server import Server

from sluice.contracts.ids import Address
from sluice.dataplane.l7 import events
from sluice.dataplane.l7.engine import CLOSED_TENANT, Engine, configuration_text, tenant_text
from sluice.dataplane.l7.ruleset import CLOSED, RuleSet
from sluice.drivers import namespaces, veth
from sluice.drivers.suricata.commands import Commands
from sluice.drivers.suricata.probing import ETH_P_ALL
from sluice.drivers.veth import Link
from sluice.lab import netns
from sluice.lab.ovs import BRIDGE, OvsNode

T = TypeVar("T")

VLAN = 7
GATEWAY_MAC = "0a:58:a9:fe:01:01"
CLIENT = Link("client", "02:00:00:00:00:0a", (Address("10.9.0.1"), Address("fd09::1")))
SERVER = Link("server", "02:00:00:00:00:0b", (Address("10.9.0.2"), Address("fd09::2")))
ADDRESSES = {4: "10.9.0.2", 6: "fd09::2"}
START_TIMEOUT_S = 60.0
FIRST_SOURCE = 20_000
"""The engine drops a connection that it rejected for minutes, and whoever has the same ports meanwhile."""

PATIENCE_S = 30.0
"""For an answer or a reset; both come within milliseconds where they come, and one of them always does."""

TAPS = ("antrea-l7-tap0", "antrea-l7-tap1")

FLOWS = f"""
table=0,priority=300,in_port={{port_out}},vlan_tci=0x1000/0x1000,actions=pop_vlan,goto_table:20
table=0,priority=290,in_port={{port_out}},actions=drop
table=0,priority=290,in_port={{port_in}},actions=drop
table=0,priority=100,tcp,actions=push_vlan:0x8100,set_field:{{tag}}->vlan_vid,output:{{port_in}}
table=0,priority=100,tcp6,actions=push_vlan:0x8100,set_field:{{tag}}->vlan_vid,output:{{port_in}}
table=20,tcp,nw_dst=10.9.0.1,actions=set_field:{CLIENT.mac}->eth_dst,output:1
table=20,tcp,nw_dst=10.9.0.2,actions=set_field:{SERVER.mac}->eth_dst,output:2
table=20,tcp6,ipv6_dst=fd09::1,actions=set_field:{CLIENT.mac}->eth_dst,output:1
table=20,tcp6,ipv6_dst=fd09::2,actions=set_field:{SERVER.mac}->eth_dst,output:2
"""


class Rig:
    """One engine, one tenant, two Pods."""

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self.engine = Engine(folder=str(folder / "engine"))
        self._folder = folder
        self._switch: OvsNode | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._sources = count(FIRST_SOURCE)
        self._server = Server(folder)

    def start(self, rules: RuleSet) -> Self:
        """Pods, switch and an engine with one tenant."""
        self.start_pods()
        self._add_ports((TAPS[0], 100, "internal"), (TAPS[1], 101, "internal"))
        self.lead_to(VLAN, 100, 101)
        Path(self.engine.events).mkdir(parents=True)
        self._write(rules)
        self._write(CLOSED, CLOSED_TENANT)
        Path(self.engine.configuration).write_text(configuration_text(self.engine, [VLAN]))
        self._start_engine()
        return self

    def start_pods(self) -> None:
        """Pods and switch; nothing passes yet."""
        self._spaces = {one: netns.create(one, self._name) for one in ("switch", "client", "server")}
        self._switch = asyncio.run(self._start_switch())
        for name, link in (("client", CLIENT), ("server", SERVER)):
            veth.plug(self._spaces[name], self._spaces["switch"], link, GATEWAY_MAC)
        veth.raise_links(self._spaces["switch"], [CLIENT.host_end, SERVER.host_end])
        self._add_ports((CLIENT.host_end, 1, ""), (SERVER.host_end, 2, ""))
        self._inside("server", self._server.serve)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        if self._switch is not None:
            asyncio.run(self._switch.stop())
        for space in getattr(self, "_spaces", {}).values():
            netns.remove(space)

    @property
    def seen(self) -> list[bytes]:
        """What reached the server."""
        return self._server.seen

    def seen_from(self, source: int) -> list[bytes]:
        """The same, from this port of the client's alone."""
        return self._server.seen_from(source)

    def server_was_reset(self, source: int) -> bool:
        """The connection of this port of the client's ended in a reset for the server, too."""
        return self._server.was_reset(source, PATIENCE_S)

    def reload(self, rules: RuleSet) -> None:
        """The tenant has these rules; connections go on."""
        self._write(rules)

        async def told() -> None:
            commands = await Commands.connect(Path(self.engine.socket))
            await commands.call("reload-tenant", id=VLAN, filename=self.engine.tenant(VLAN))
            commands.close()

        asyncio.run(told())

    def connect(self, port: int, family: int = 4, patience_s: float = PATIENCE_S) -> socket.socket:
        """A connection of the client's, from a port that none had before, without delay between small writes."""
        source = next(self._sources)
        return self._inside("client", lambda: connected(ADDRESSES[family], port, source, patience_s))

    def listen(self, name: str, interface: str) -> socket.socket:
        """All that comes and goes there. `name` is "switch", "client" or "server"."""

        def bound() -> socket.socket:
            found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            found.bind((interface, 0))
            found.settimeout(PATIENCE_S)
            return found

        return self._inside(name, bound)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """What the log says of this kind."""
        files = sorted(Path(self.engine.events).glob("*.json"))
        lines = [line for path in files for line in path.read_bytes().split(b"\n") if line.endswith(b"}")]
        decoded = [json.decode(line) for each in lines for line in events.told(each)]
        return [one for one in decoded if one["event_type"] == kind]

    # ------------------------------------------------------------------------------------------------------- set-up

    def _inside(self, name: str, function: Callable[[], T]) -> T:
        return namespaces.inside(self._spaces[name], function)

    async def _start_switch(self) -> OvsNode:
        node = await OvsNode.start(self._spaces["switch"].name, self._folder / "ovs")
        await node.ensure_bridge()
        return node

    @property
    def client(self) -> Path:
        """The network namespace of the Pod that asks."""
        return self._spaces["client"]

    @property
    def netns(self) -> Path:
        """Of the switch."""
        return self._spaces["switch"]

    @property
    def switch(self) -> OvsNode:
        assert self._switch is not None
        return self._switch

    def lead_to(self, vlan: int | None, port_in: int, port_out: int) -> None:
        """All of TCP goes through the engine with this VLAN; None: it is dropped."""
        where = f"unix:{self.switch.mgmt_socket()}"
        _run("ovs-ofctl", "-O", "OpenFlow15", "del-flows", where)
        if vlan is not None:
            flows = FLOWS.format(tag=4096 + vlan, port_in=port_in, port_out=port_out)
            _run("ovs-ofctl", "-O", "OpenFlow15", "add-flows", where, "-", text=flows)

    def _add_ports(self, *ports: tuple[str, int, str]) -> None:
        words = ["ovs-vsctl", "--db", f"unix:{self.switch.db_socket}"]
        for name, number, kind in ports:
            words += ["--", "add-port", BRIDGE, name, "--", "set", "interface", name, f"ofport_request={number}"]
            words += [f"type={kind}"] if kind else []
        _run(*words)
        veth.raise_links(self._spaces["switch"], [name for name, _, kind in ports if kind])

    def _write(self, rules: RuleSet, vlan: int = VLAN) -> None:
        Path(self.engine.rules(vlan)).write_text(rules.text)
        Path(self.engine.tenant(vlan)).write_text(tenant_text(self.engine, vlan))

    def _start_engine(self) -> None:
        words = ["ip", "netns", "exec", self._spaces["switch"].name, "suricata", "-c", self.engine.configuration]
        words += ["--af-packet", f"--reject-dev={TAPS[1]}", "-l", self.engine.folder]
        log = Path(self.engine.folder, "suricata.log")
        with Path(self.engine.folder, "output").open("wb") as output:
            self._process = subprocess.Popen(words, stdout=output, stderr=subprocess.STDOUT)
        until = time.monotonic() + START_TIMEOUT_S
        while not (log.exists() and "Engine started" in log.read_text()):
            assert self._process.poll() is None, Path(self.engine.folder, "output").read_text()
            assert time.monotonic() < until, "the engine did not start"
            time.sleep(0.05)


def _run(*words: str, text: str | None = None) -> None:
    done = subprocess.run(words, input=text, text=True, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"


@contextlib.contextmanager
def running(name: str, folder: Path, rules: RuleSet) -> Iterator[Rig]:
    """A rig that leaves nothing behind."""
    rig = Rig(f"{name}-{os.getpid()}", folder)
    try:
        yield rig.start(rules)
    finally:
        rig.stop()


def connected(address: str, port: int, source: int, patience_s: float = PATIENCE_S) -> socket.socket:
    """A connection from this port of ours, without delay between small writes, which waits so long for anything."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        sock.bind(("", source))
        sock.settimeout(patience_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(ConnectionResetError):  # an end that spoke first and was reset, before we look: who
            sock.connect((address, port))  # receives hears of it. A SYN that is refused is ECONNREFUSED.
    except OSError:
        sock.close()
        raise
    return sock


class Hand:
    """TLS by hand: its first flight goes out in pieces of `step` bytes."""

    def __init__(self, sock: socket.socket, sni: str | None, step: int = 1 << 16, *, large: bool = False) -> None:
        """`large`: its ClientHello has more than 3 KB, and so two segments at least."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if large:
            context.set_alpn_protocols([f"{number:0255}" for number in range(12)])
        self._in, self._out, self._socket = ssl.MemoryBIO(), ssl.MemoryBIO(), sock
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=sni)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                flight = self._out.read()
                send_in(sock, flight, step)
                step = 1 << 16
                self._in.write(received(sock))
            else:
                self._flush()
                return

    def ask(self, request: bytes) -> bytes:
        self._tls.write(request)
        self._flush()
        while True:
            try:
                return self._tls.read(4096)
            except ssl.SSLWantReadError:
                self._in.write(received(self._socket))

    def _flush(self) -> None:
        if pending := self._out.read():
            self._socket.sendall(pending)


def send_in(sock: socket.socket, data: bytes, step: int) -> None:
    """Send it in pieces, each a segment of its own."""
    for at in range(0, len(data), step):
        sock.sendall(data[at : at + step])
        if step < len(data):
            time.sleep(0.001)


def received(sock: socket.socket) -> bytes:
    """What came; never nothing.

    Raises:
        ConnectionResetError: the other side closed.
    """
    if data := sock.recv(1 << 16):
        return data
    raise ConnectionResetError("closed")
