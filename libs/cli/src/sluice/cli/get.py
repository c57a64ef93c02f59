"""`sluice get`: lists of objects as tables."""

from typing import Any

import click

from sluice.cli import options
from sluice.cli.held import filters, flows, nftables, signatures
from sluice.cli.listing import audit, groups, nodes, objects, policies
from sluice.cli.realised import status
from sluice.cli.traffic_controls import traffic_controls

SHOWN = 1
"""The number of groups of a policy that a table shows; the rest are counted."""


class _Kinds(click.Group):
    """Tells users who name a kind, as with kubectl, where objects are listed."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError:
            from sluice.cli.naming import kind_named

            try:
                kind_named(args[0])
            except LookupError:
                pass
            else:
                ctx.fail(f"No such command '{args[0]}'. To list objects of a kind: sluice get objects {args[0]}")
            raise


@click.group(cls=_Kinds)
def get() -> None:
    """List objects."""


@get.command(name="netpol")
@options.files
@click.option("-n", "--namespace", metavar="NAME", help="Only policies of this Namespace.")
@click.option(
    "-T",
    "--type",
    "kind",
    type=click.Choice(["K8sNP", "ACNP", "ANNP", "MNP"], case_sensitive=False),
    help="Only policies of this kind.",
)
@click.option(
    "--sort-by",
    type=click.Choice(["name", "effectivePriority"]),
    default="name",
    show_default=True,
    help="effectivePriority is the order of enforcement.",
)
@options.output("table")
def netpol(files: tuple[str, ...], namespace: str | None, kind: str | None, sort_by: str, output: str) -> None:
    """List the network policies in manifests, with what they apply to and their precedence.

    APPLIED-TO lists groups of Pods; equal groups contain the same Pods. For those of a running cluster or lab, see
    `sluice get policies`. Exits with 0, or with 2 on bad input.
    """
    from sluice.cli.loading import load_all
    from sluice.contracts.kinds import Kind
    from sluice.contracts.objects import AnyPolicy, Tier
    from sluice.policy.listing import SOURCES, rows
    from sluice.policy.state import ClusterState

    kinds = {
        "K8sNP": Kind.K8S_NETWORK_POLICY,
        "ACNP": Kind.CLUSTER_NETWORK_POLICY,
        "ANNP": Kind.ANTREA_NETWORK_POLICY,
        "MNP": Kind.MULTI_NETWORK_POLICY,
    }
    objects = [document.object for document in load_all(files)]
    wanted = [
        policy for policy in objects if isinstance(policy, AnyPolicy) and namespace in (None, policy.metadata.namespace)
    ]
    found = rows(ClusterState(objects), wanted, [made for made in objects if isinstance(made, Tier)])
    if kind is not None:
        found = [row for row in found if row.source.startswith(f"{SOURCES[kinds[kind]]}:")]
    if sort_by == "name":
        found.sort(key=lambda row: row.name)
    if output == "json":
        options.echo_json({"policies": found})
        return
    header = ("NAME", "APPLIED-TO", "RULES", "SOURCE", "TIER-PRIORITY", "PRIORITY")
    click.echo(options.table([header, *map(_cells, found)]))


get.add_command(netpol, "networkpolicy")
for command in (
    status,
    policies,
    objects,
    groups,
    nodes,
    audit,
    traffic_controls,
    flows,
    filters,
    signatures,
    nftables,
):
    get.add_command(command)


def _cells(row: Any) -> tuple[str, ...]:  # Any: a Row, which is imported lazily
    more = len(row.applied_to) - SHOWN
    applied = ",".join(row.applied_to[:SHOWN]) + (f" + {more} more" if more > 0 else "")
    tier, priority = row.tier_priority, row.priority
    return (
        row.name,
        applied or "<NONE>",
        str(row.rules),
        row.source,
        "<NONE>" if tier is None else str(tier),
        "<NONE>" if priority is None else f"{priority:g}",
    )
