"""What is outside a lab's cluster: the hosts that a scenario asks for, and the contents of its DNS servers."""

import asyncio
from collections.abc import Mapping

from sluice.contracts.ids import Address
from sluice.drivers import veth
from sluice.lab import nameserver, netns
from sluice.lab.ends import EXTERNAL_END
from sluice.lab.externals import PORT, ExternalHost, make, reroute, routes
from sluice.lab.probers import Probers
from sluice.lab.records import Records
from sluice.lab.scenario import DnsRecord
from sluice.lab.underlay import UPLINK, Underlay
from sluice.lab.world import World
from sluice.policy import fqdn


class Outside:
    def __init__(self, lab: str, probers: Probers, underlay: Underlay) -> None:
        self._lab, self._probers, self._underlay = lab, probers, underlay
        self._names = nameserver.NodesServer()
        self.hosts: dict[str, ExternalHost] = {}

    @property
    def names_port(self) -> int:
        """The port of the nodes' DNS server on this machine."""
        return self._names.port

    async def start(self) -> None:
        await self._names.start()

    async def stop(self) -> None:
        """Stop the DNS servers; the hosts themselves end with the lab."""
        for host in self.hosts.values():
            await host.prober.disconnect()
        self._names.stop()

    async def use(self, externals: Mapping[str, Address], *, serves_names: bool) -> None:
        """Make exactly these hosts exist, and the DNS servers if requested.

        Raises:
            CannotAnswer: a host cannot be created on this machine.
        """
        wanted = {**externals, **(nameserver.HOSTS if serves_names else {})}
        for gone in [name for name, host in self.hosts.items() if wanted.get(name) != host.address]:
            await self._remove(gone)
        for name, address in wanted.items():
            if name not in self.hosts:
                self.hosts[name] = await self._make(name, address)

    async def reroute(self, world: World) -> None:
        """Update the hosts' routes to the Pods of the world."""
        ways = routes(world)
        for name, host in self.hosts.items():
            wanted = ways[veth.family(host.address)]
            await asyncio.to_thread(reroute, host.netns, host.routes, wanted)
            self.hosts[name] = host._replace(routes=wanted)

    async def say_names(self, records: Mapping[str, DnsRecord]) -> None:
        """Set the complete records of the DNS servers.

        Raises:
            ProberGone
        """
        told: Records = {
            fqdn.normal(name): {"ips": list(record.ips), "cname": fqdn.normal(record.cname), "ttl": record.ttl}
            for name, record in records.items()
        }
        self._names.records = told
        for name, host in self.hosts.items():
            if name in nameserver.HOSTS:
                await host.prober.say_names(told)

    async def _make(self, name: str, address: Address) -> ExternalHost:
        end = f"{EXTERNAL_END}{name}"
        if name in nameserver.HOSTS:
            path = await make(name, self._lab, address, self._underlay, firewall="")
            prober = await self._probers.start(end, path, (), serves_names=True)
        else:
            path = await make(name, self._lab, address, self._underlay)
            prober = await self._probers.start(end, path, (PORT,), every_sctp_port=True)
        return ExternalHost(address, path, prober)

    async def _remove(self, name: str) -> None:
        host = self.hosts.pop(name)
        # First, because the kernel removes a namespace with a delay: replies to what its sockets send until then would
        # reach the same port of the address's next owner.
        await asyncio.to_thread(veth.remove_links, host.netns, (UPLINK,))
        host.prober.kill()
        await host.prober.disconnect()
        await asyncio.to_thread(netns.remove, host.netns)
