"""Answers trace requests for this node: the switch traces the packet, and the fold maps its flows to rules."""

from collections.abc import Callable
from pathlib import Path

from sluice.contracts import codec, subjects
from sluice.contracts.ids import NodeName
from sluice.contracts.tracing import (
    Begin,
    FromNode,
    FromPod,
    FromWorld,
    Hop,
    Outcome,
    Trace,
    TraceQuestion,
    TraceRefused,
)
from sluice.dataplane.addresses import NotAnAddress
from sluice.dataplane.ovs import cookies, tracing
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.pipeline import TABLES, Table
from sluice.dataplane.ovs.tracing import Met, NotTraceable, Plug
from sluice.drivers.jsonrpc import RpcGone
from sluice.drivers.unixctl import CommandRefused, command
from sluice.runtime.answering import answer
from sluice.runtime.bus import Bus
from sluice.services.node_ovs.programmer import Programmer

_OF_RULES = (CookieKind.RULE, CookieKind.ISOLATION)


class Tracing:
    """Listens on the bus.

    Args:
        control: returns ovs-vswitchd's control socket; called each time, because the name changes at a restart.
    """

    def __init__(self, bus: Bus, node: NodeName, bridge: str, control: Callable[[], Path], facts: Programmer) -> None:
        self._bus, self._node, self._bridge, self._control, self._facts = bus, node, bridge, control, facts

    async def run(self) -> None:
        """Answer until cancelled."""
        await answer(self._bus, subjects.trace(self._node), self._answer)

    async def _answer(self, body: bytes) -> Trace | TraceRefused:
        try:
            asked = codec.decode(body, TraceQuestion)
            plug = self._plug(asked.begin)
            words = tracing.question(plug, asked.packet, asked.state, asked.choice)
            said = await command(self._control(), "ofproto/trace", self._bridge, *words)
            way = tracing.read(said, asked.packet, plug.ofport, self._bridge)
        except (NotTraceable, NotAnAddress, codec.Undecodable) as error:
            return TraceRefused(reason=f"node {self._node}: {error}")
        except (OSError, RpcGone, CommandRefused) as error:
            return TraceRefused(reason=f"node {self._node}: the switch does not answer: {error}")
        uplinks = self._facts.routing.uplinks
        pods = {port.ofport: port.pod for port in self._facts.ports.values()}
        ends = map(self._facts.routing.node_at, way.tunnel_ends)
        outcome: Outcome = "Allowed" if way.ports else "Rejected" if way.rejected else "Dropped"
        return Trace(
            node=self._node,
            applied=self._facts.upto,
            hops=tuple(map(self._hop, way.met)),
            outcome=outcome,
            packet=way.packet,
            pods=tuple(pods[number] for number in way.ports if number in pods),
            nodes=tuple(node for node in ends if node is not None),
            world=uplinks.gateway is not None and uplinks.gateway.ofport in way.ports,
        )

    def _plug(self, begin: Begin) -> Plug:
        """Where the packet enters the switch.

        Raises:
            NotTraceable: there is no such place.
        """
        uplinks = self._facts.routing.uplinks
        match begin:
            case FromPod(pod=pod):
                port = next((port for port in self._facts.ports.values() if port.pod == pod), None)
                if port is None:
                    raise NotTraceable(f"Pod {pod} has no port in the switch; is it running, and on the Pods' network?")
                return Plug(port.ofport, port.mac)
            case FromNode(node=node):
                end = self._facts.routing.end_of(node)
                if uplinks.tunnel is None or end is None:
                    raise NotTraceable(f"there is no tunnel to node {node}; see `sluice get status`")
                return Plug(uplinks.tunnel, tunnel_from=end)
            case FromWorld():
                if uplinks.gateway is None:
                    raise NotTraceable("the switch has no gateway, so no packets come from outside the cluster")
                return Plug(uplinks.gateway.ofport, uplinks.gateway.mac)

    def _hop(self, met: Met) -> Hop:
        cookie = cookies.unpack(met.cookie) if met.cookie else None
        table = Table(met.table) if met.table in TABLES else None
        return Hop(
            table=met.table,
            name=table.name if table is not None else "?",
            does=TABLES[table].does if table is not None else "",
            kind="none" if met.cookie is None else cookie.kind.name.lower() if cookie else "not ours",
            match=met.match,
            priority=met.priority,
            actions=met.actions,
            cookie="" if met.cookie is None else f"{met.cookie:#x}",
            rule=self._facts.rule(cookie.number) if cookie and cookie.kind in _OF_RULES else None,
        )
