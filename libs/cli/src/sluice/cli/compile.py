"""`sluice compile`: what would a node hold?"""

from typing import Any

import click

from sluice.cli import options

NOTHING = {
    "ovs": "no flows",
    "tc": "no Pod with an interface on a secondary network",
    "l7": "no rule with l7Protocols about a Pod",
    "host": "no policy on a Node",
}
"""Why a backend holds nothing; the node's name is appended."""


@click.command(name="compile")
@options.files
@click.option("--node", metavar="NAME", help="The node. Default: the only one.")
@click.option("--backend", type=click.Choice(["ovs", "tc", "l7", "host"]), required=True)
@options.output("text")
def compile_(files: tuple[str, ...], node: str | None, backend: str, output: str) -> None:
    """Print what a node's backend would hold, in the notation of its own tools.

    ovs: input of ovs-ofctl add-flows, with that of add-groups as comments. tc: a script of tc commands for the
    interfaces on secondary networks. l7: the rule files of the inspection engine's tenants. host: the nftables table
    for policies on Nodes, as input of nft -f.

    Pods without a node or an address are assigned one, as in a lab; nodes are assigned addresses. Ports are numbered in
    the order of the Pods' names, followed by the tunnel and the gateway. Exits with 0, or with 2 on bad input.
    """
    from sluice.cli.loading import load_all
    from sluice.cli.placing import placed

    world = placed(load_all(files))
    nodes = ", ".join(world.nodes)
    if node is None and len(world.nodes) > 1:
        options.refuse([f"--node: there are several nodes, and each holds something else; name one of {nodes}"])
    chosen = node or world.nodes[0]
    if chosen not in world.nodes:
        options.refuse([f"--node {chosen}: there is no such node; name one of {nodes}"])
    match backend:
        case "tc":
            told, script, problems = _tc(world, chosen)
        case "l7":
            told, script, problems = _l7(world, chosen)
        case "host":
            told, script, problems = _host(world, chosen)
        case _:
            told, script, problems = _ovs(world, chosen)
    if output == "json":
        said = [{"unit": one.unit, "state": one.state, "reason": one.reason} for one in problems]
        options.echo_json({"node": chosen, "backend": backend, **told, "problems": said})
        return
    for problem in problems:
        click.echo(problem.words(), err=True)
    if not script:
        click.echo(f"nothing: {NOTHING[backend]} on {chosen}", err=True)
    click.echo(script, nl=False)


def _ovs(world: Any, node: Any) -> tuple[dict[str, Any], str, list[Any]]:
    """The JSON output, the text output, and what could not be compiled as written."""
    from sluice.cli import compile_ovs
    from sluice.dataplane.ovs import text

    flows, groups, problems = compile_ovs.compiled(world, node)
    flow_text, group_lines = text.write_all(flows), text.write_groups(groups).splitlines()
    comments = "".join(f"# {line}\n" for line in group_lines)
    return {"flows": flow_text.splitlines(), "groups": group_lines}, comments + flow_text, problems


def _tc(world: Any, node: Any) -> tuple[dict[str, Any], str, list[Any]]:
    from sluice.cli import compile_tc

    interfaces, problems = compile_tc.compiled(world.objects, node)
    return {"interfaces": [one._asdict() for one in interfaces]}, compile_tc.script(interfaces), problems


def _l7(world: Any, node: Any) -> tuple[dict[str, Any], str, list[Any]]:
    from sluice.cli import compile_l7

    tenants, problems = compile_l7.compiled(world.objects, node)
    return {"tenants": [one._asdict() for one in tenants]}, compile_l7.text(tenants), problems


def _host(world: Any, node: Any) -> tuple[dict[str, Any], str, list[Any]]:
    from sluice.cli import compile_host

    script, problems = compile_host.compiled(world.objects, node)
    return {"table": script.splitlines()}, script, problems
