"""Who probes and connections begin and end at, by the names that scenarios give them.

    x/a                a Pod                              node:node-1        a node, from its gateway
    external:outside   a host beyond the cluster          svc:y/web          a Service, by its ClusterIP
    nodeport:y/web     a Service, by a port of the first node (nodeport:y/web@node-2: of another)
    fqdn:www.a.com     whom the lab's DNS names
    x/a@x/net          a Pod's interface on a secondary network; `x/a@net` if it is of the Pod's namespace

As the beginning of a probe a host beyond the cluster may be called by its bare name. To teach the lab a kind of end:
take its prefix into `BEGINS` or `ENDS`, give `World.ends` the addresses it has, and `reasons` the packet it means.
"""

from collections.abc import Mapping

from sluice.lab.world import AT, EXTERNAL_END, NAME_END, NODE_END, NODE_PORT_END, SERVICE_END, Placed

Ends = Mapping[str, Placed]
"""As `World.ends` has them: by namespace/name, or by name with prefix."""

POD = ""
"""Pods have no prefix."""

BEGINS = frozenset({POD, NODE_END, EXTERNAL_END})
"""What packets can be sent from."""

ENDS = frozenset({POD, EXTERNAL_END, SERVICE_END, NODE_PORT_END})
"""What packets can be sent to."""

DECIDED = ENDS | {NAME_END}
"""What policy can be asked about."""


def prefix(name: str) -> str:
    """What kind of end the name means: its prefix, with the colon; of a bare name, a host beyond the cluster."""
    before, colon, _ = name.partition(":")
    if colon:
        return before + colon
    return POD if "/" in name else EXTERNAL_END


def end_of(ends: Ends, name: str) -> Placed | None:
    """The end of this name, if there is one."""
    pod, at, network = name.partition(AT)
    if at and "/" not in network and prefix(name) == POD:
        return ends.get(f"{pod}{AT}{pod.partition('/')[0]}/{network}")
    return ends.get(name) or ends.get(prefix(name) + name)
