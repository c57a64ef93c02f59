"""Sends NodePort traffic to the switch: rules and routes in the network namespace of the calling thread."""

import socket
from collections.abc import Collection
from ipaddress import ip_address
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.rtnl.fibmsg import FR_ACT_TO_TBL

from sluice.contracts.ids import Address
from sluice.dataplane.node_ports import TABLE, Rule, plan, rules
from sluice.drivers import sysctl, veth

_OTHERS = {"FRA_SRC", "FRA_DST", "FRA_FWMARK", "FRA_OIFNAME", "FRA_SPORT_RANGE", "FRA_UID_RANGE", "FRA_L3MDEV"}
_FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}


def hand_over(gateway: str, addresses: Collection[Address], ports: str) -> bool:
    """Send packets to these ports of these addresses unchanged to the gateway; True if that changed anything.

    The gateway is an interface with a neighbour entry for `veth.GATEWAY` of each family of the addresses. A family
    without addresses hands nothing over, and neither does any family if `ports` is empty.

    Raises:
        OSError, NetlinkError: the kernel refused. ValueError: there is no such interface.
    """
    changed = False
    if gateway not in {name for _, name in socket.if_nameindex()}:
        raise ValueError(f"{gateway}: no such interface, so NodePorts go nowhere; the switch makes it")
    if ports:
        # Answers leave the switch with the node's own address; a strict rp_filter would drop them as spoofed.
        sysctl.write(f"net/ipv4/conf/{gateway}/accept_local", "1")
        sysctl.write(f"net/ipv4/conf/{gateway}/rp_filter", "2")
    with IPRoute() as netlink:
        (index,) = netlink.link_lookup(ifname=gateway)
        for version, family in _FAMILY.items():
            if not Path(f"/proc/sys/net/ipv{version}").exists():
                continue  # a kernel without IPv6
            own = {each for each in addresses if ip_address(each).version == version} if ports else set()
            changed |= _route(netlink, index, version, own)
            wanted = rules(ports if own else "", gateway)
            for verb, rule in plan(wanted, _there(netlink, family)):
                netlink.rule(verb.value, **_said(rule, family))
                changed = True
    return changed


def _route(netlink: IPRoute, index: int, version: int, own: set[Address]) -> bool:
    """Make the table route these addresses, and nothing else, through the gateway."""
    length = 128 if version == 6 else 32
    there = {
        Address(route.get_attr("RTA_DST") or ""): route
        for route in netlink.get_routes(family=_FAMILY[version], table=TABLE)
    }
    for address in sorted(there.keys() - own):
        netlink.route("del", dst=f"{address}/{length}", table=TABLE)
    missing = sorted(own - there.keys())
    for address in missing:
        by = {"gateway": veth.GATEWAY[version], "oif": index, "flags": veth.RTNH_F_ONLINK}
        netlink.route("replace", dst=f"{address}/{length}", table=TABLE, **by)
    return bool(missing or there.keys() - own)


def _there(netlink: IPRoute, family: int) -> list[Rule]:
    found = []
    for each in netlink.get_rules(family=family):
        attributes = dict(each["attrs"])
        if each["action"] != FR_ACT_TO_TBL or attributes.keys() & _OTHERS:
            continue  # not one of our rules
        found.append(
            Rule(
                attributes.get("FRA_PRIORITY", 0),
                attributes.get("FRA_TABLE", each["table"]),
                attributes.get("FRA_PROTOCOL", 0),
                attributes.get("FRA_IIFNAME", ""),
                attributes.get("FRA_IP_PROTO", 0),
                attributes.get("FRA_DPORT_RANGE", ""),
            )
        )
    return found


def _said(rule: Rule, family: int) -> dict[str, int | str]:
    said: dict[str, int | str] = {"iifname": rule.comes_from, "ip_proto": rule.transport, "dport_range": rule.ports}
    given = {name: value for name, value in said.items() if value}
    return {"family": family, "priority": rule.pref, "table": rule.table, "protocol": rule.protocol, **given}
