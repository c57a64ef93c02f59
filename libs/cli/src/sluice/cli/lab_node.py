"""`sluice lab node` and `sluice lab probe`: the lab's part of a node run by others, and a packet in any lab."""

from pathlib import Path
from typing import Any

import click

from sluice.cli import onbus, options


@click.command()
@click.option("--node", "node_name", default="node-1", show_default=True, help="The node whose Pods to run.")
@click.option("--nats-url", required=True, metavar="URL", help="URL of the bus.")
@click.option(
    "--nats-keys",
    type=click.Path(path_type=Path),
    envvar=onbus.KEYS,
    help="Folder of the operator's keys, if the bus has identities; default: $SLUICE_NATS_KEYS.",
)
@click.option("--manifests", required=True, type=click.Path(path_type=Path), help="The folder that people write to.")
@click.option("--objects", required=True, type=click.Path(path_type=Path), help="The folder that ingest reads.")
def node(node_name: str, nats_url: str, nats_keys: Path | None, manifests: Path, objects: Path) -> None:
    """Act as scheduler, kubelet and CNI of one node that has a switch, as in deploy/compose.

    The bus, the services, and the switch of this network namespace must already run; the switch has its sockets in
    /run/openvswitch.
    """
    import contextlib

    from sluice.lab import keep
    from sluice.runtime import logs

    logs.configure("lab-node", level="info", node=node_name)
    with contextlib.suppress(KeyboardInterrupt):  # told to end
        keep.run(_run(node_name, nats_url, nats_keys, manifests, objects))


async def _run(node_name: str, nats_url: str, nats_keys: Path | None, manifests: Path, objects: Path) -> None:
    from sluice.contracts.identities import OPERATOR
    from sluice.contracts.ids import NodeName
    from sluice.lab import claim
    from sluice.lab.outpost import Outpost
    from sluice.runtime.credentials import Credentials

    outpost = Outpost(claim.claim("lab"), NodeName(node_name), manifests, objects)
    credentials = Credentials(identity=OPERATOR, folder=nats_keys) if nats_keys else None
    try:
        await outpost.run(nats_url, credentials)
    finally:
        await outpost.stop()


@click.command()
@click.option("--name", default=None, help="Name of the lab. Default: the only one running.")
@click.option(
    "--port",
    default=80,
    show_default=True,
    type=click.IntRange(1, 65_535),
    help="Destination port, for TCP, UDP and SCTP.",
)
@click.option("--protocol", default="TCP", show_default=True, type=click.Choice(["TCP", "UDP", "SCTP", "ICMP"]))
@click.argument("from_", metavar="FROM")
@click.argument("to")
def probe(name: str | None, port: int, protocol: Any, from_: str, to: str) -> None:
    """Send a packet from a Pod to a Pod (NAMESPACE/NAME) or an address, and show the outcome."""
    import asyncio

    from sluice.contracts.ids import Address
    from sluice.lab import state
    from sluice.lab.checks import Question
    from sluice.lab.probers import Prober, ProberGone

    try:
        known = state.read(name)
        source = state.pod(known, from_)
        address = state.pod(known, to).addresses[0] if "/" in to else to
    except state.NoLab as error:
        options.refuse([str(error)])
    question = Question(
        kind="probe",
        from_=source.pod,
        to=to,
        what=f"{protocol} {port}",
        expect="Allowed",
        protocol=protocol,
        source=Address(source.addresses[0]),
        address=Address(address),
        port=0 if protocol == "ICMP" else port,
    )

    async def ask() -> Any:
        prober = await Prober.connect(source.pod, 0, Path(source.prober))
        try:
            return (await prober.ask([question]))[0]
        finally:
            await prober.disconnect()

    try:
        result = asyncio.run(ask())
    except ProberGone as error:
        options.refuse([str(error)])
    click.echo(str(result))
