"""`sluice connectivity`: who may connect to whom, on which ports?"""

import csv
import sys
from collections.abc import Iterable
from typing import Any

import click

from sluice.cli import options


@click.command()
@options.files
@options.output("csv")
def connectivity(files: tuple[str, ...], output: str) -> None:
    """List which ports are open for each ordered pair of Pods, and between Pods and outside addresses.

    Ports are destination ports of TCP, UDP and SCTP. Pods without a node or an address are assigned one, as in a lab.
    Exits with 0, or with 2 on bad input.
    """
    from sluice.cli.loading import load_all
    from sluice.cli.placing import placed
    from sluice.policy.connectivity import PROTOCOLS
    from sluice.policy.connectivity import connectivity as pairs
    from sluice.policy.state import ClusterState

    world = placed(load_all(files))
    state = ClusterState(document.object for document in world.objects.values())
    rows = (
        {
            "src": pair.source,
            "dst": pair.destination,
            "allowed": [
                {"protocol": protocol, "ports": ports}
                for protocol, ports in zip(PROTOCOLS, pair.allowed, strict=True)
                if ports
            ],
        }
        for pair in pairs(state)
    )
    if output == "json":
        options.echo_json(list(rows))
    else:
        _csv(rows)


def _csv(rows: Iterable[dict[str, Any]]) -> None:
    """A line per protocol; one without a protocol if nothing connects."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("src", "dst", "protocol", "ports"))
    for row in rows:
        for one in row["allowed"] or [{"protocol": "", "ports": ()}]:
            ports = ";".join(str(first) if first == last else f"{first}-{last}" for first, last in one["ports"])
            writer.writerow((row["src"], row["dst"], one["protocol"], ports))
