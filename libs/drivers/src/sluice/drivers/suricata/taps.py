"""The two switch ports between which the engine sits."""

import asyncio
import socket
from collections.abc import Iterable
from errno import ENODEV
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from sluice.drivers import sysctl
from sluice.drivers.namespaces import inside
from sluice.drivers.ovsdb import operations
from sluice.drivers.ovsdb.client import Ovsdb
from sluice.drivers.ovsdb.operations import NewPort
from sluice.drivers.ovsdb.roles import L7_IN, L7_OUT, ROLE

TAGS = 2
"""Tags per packet on its way through the engine: the rule set's, and one that tells connections apart."""

TAG_BYTES = 4
"""Source: IEEE 802.1Q."""


def opened(tap: str, ether_type: int = 0) -> socket.socket:
    """A socket that sends by the tap, and receives what the kernel has of this EtherType there; 0: nothing.

    Raises:
        OSError: there is no such interface, or permission is missing.
    """
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ether_type))
    try:
        made.bind((tap, 0))
    except OSError:
        made.close()
        raise
    return made


class Taps:
    """Both exist and are up, and the kernel sends nothing by them."""

    def __init__(self, tap_in: str, tap_out: str, port_in: int) -> None:
        self.tap_in, self.tap_out = tap_in, tap_out
        self.port_in = port_in
        """OpenFlow port of `tap_in`."""

    @classmethod
    async def ensure(cls, db_socket: Path, bridge: str, tap_in: str, tap_out: str, netns: Path | None = None) -> "Taps":
        """Create what is missing, for an ovs-vswitchd in the namespace (None: the current one).

        Raises:
            OSError, RpcGone: no ovsdb-server answers.
            TransactionRefused, PortFailed, NotApplied: there is no such bridge, or the ports cannot be created.
        """
        ovsdb = await Ovsdb.connect(db_socket)
        try:
            wanted = {tap_in: L7_IN, tap_out: L7_OUT}
            found = await ovsdb.transact(*(operations.identity("Interface", name) for name in wanted))
            known = {name for name, result in zip(wanted, found, strict=True) if result["rows"]}
            new = [
                NewPort(name=name, type="internal", external_ids={ROLE: role})
                for name, role in wanted.items()
                if name not in known
            ]
            if new:
                await ovsdb.add_ports(bridge, *new)
            for name in known:  # ports left over from before, or provided by the node's owner
                await ovsdb.set_external_ids(name, {ROLE: wanted[name]})
            await _fit_tags(ovsdb, wanted)
            port_in = (await ovsdb.ofports(tap_in, tap_out))[tap_in]
        finally:
            ovsdb.close()
        # In a thread, since pyroute2 runs an event loop of its own, which it may not do inside ours.
        await asyncio.to_thread(inside, netns, lambda: raise_quietly((tap_in, tap_out)))
        return cls(tap_in, tap_out, port_in)


async def _fit_tags(ovsdb: Ovsdb, taps: Iterable[str]) -> None:
    """Raise the taps' MTU to that of the other ports plus two tags, so that tagged packets pass whole."""
    (found,) = await ovsdb.transact({"op": "select", "table": "Interface", "where": [], "columns": ["name", "mtu"]})
    longest = max(row["mtu"] for row in found["rows"] if row["name"] not in taps and isinstance(row["mtu"], int))
    await ovsdb.set_vlan_limit(TAGS)
    await ovsdb.change(
        *(
            {
                "op": "update",
                "table": "Interface",
                "where": [["name", "==", name]],
                "row": {"mtu_request": longest + TAGS * TAG_BYTES},
            }
            for name in taps
        ),
    )


def raise_quietly(names: Iterable[str]) -> None:
    """Bring these interfaces up such that the kernel sends nothing by itself.

    Raises:
        OSError: there is no such interface, for example because ovs-vswitchd has just exited.
    """
    with IPRoute() as netlink:
        for name in names:
            sysctl.no_ipv6(name)
            found = netlink.link_lookup(ifname=name)
            if not found:
                raise OSError(ENODEV, "the switch has not made it", name)
            try:
                netlink.link("set", index=found[0], state="up")
            except NetlinkError as error:
                raise OSError(error.code, str(error), name) from error
