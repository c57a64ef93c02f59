"""`sluice compile`: what would a node hold?"""

from typing import Any

import click

from sluice.cli import options


@click.command(name="compile")
@options.files
@click.option("--node", metavar="NAME", help="Whose program; unset: the only node's.")
@click.option("--backend", type=click.Choice(["ovs", "tc", "l7"]), required=True)
@options.output("text")
def compile_(files: tuple[str, ...], node: str | None, backend: str, output: str) -> None:
    """Print what a node's backend would hold, in the notation of its own tools.

    ovs: what ovs-ofctl add-flows takes, and as comments what add-groups takes. tc: a script of tc commands, for the
    interfaces on secondary networks. l7: the rule files of the inspection engine's tenants.

    Pods without a node or an address get one, as in a lab; nodes get addresses. Ports are numbered by the Pods' names,
    and after these come the tunnel and the gateway. Exits with 0, or with 2 on bad input.
    """
    from sluice.cli.loading import load_all
    from sluice.cli.placing import placed
    from sluice.dataplane.ovs import text

    world = placed(load_all(files))
    nodes = ", ".join(world.nodes)
    if node is None and len(world.nodes) > 1:
        options.refuse([f"--node: there are several nodes, and each holds something else; name one of {nodes}"])
    chosen = node or world.nodes[0]
    if chosen not in world.nodes:
        options.refuse([f"--node {chosen}: there is no such node; name one of {nodes}"])
    if backend == "tc":
        _print_tc(world, chosen, output)
        return
    if backend == "l7":
        _print_l7(world, chosen, output)
        return
    flows, groups, problems = _compiled(world, chosen)
    if output == "json":
        lines = text.write_all(flows).splitlines()
        said = [{"unit": one.unit, "state": one.state, "reason": one.reason} for one in problems]
        listed = text.write_groups(groups).splitlines()
        options.echo_json({"node": chosen, "backend": backend, "flows": lines, "groups": listed, "problems": said})
        return
    for problem in problems:
        click.echo(f"{problem.unit}: {problem.reason}", err=True)
    for line in text.write_groups(groups).splitlines():
        click.echo(f"# {line}")
    click.echo(text.write_all(flows), nl=False)


def _print_tc(world: Any, node: Any, output: str) -> None:
    from sluice.cli import compile_tc

    interfaces, problems = compile_tc.compiled(world.objects, node)
    if output == "json":
        said = [{"unit": one.unit, "state": one.state, "reason": one.reason} for one in problems]
        listed = [one._asdict() for one in interfaces]
        options.echo_json({"node": node, "backend": "tc", "interfaces": listed, "problems": said})
        return
    for problem in problems:
        click.echo(f"{problem.unit}: {problem.reason}", err=True)
    click.echo(compile_tc.script(interfaces), nl=False)


def _print_l7(world: Any, node: Any, output: str) -> None:
    from sluice.cli import compile_l7

    tenants, problems = compile_l7.compiled(world.objects, node)
    if output == "json":
        said = [{"unit": one.unit, "state": one.state, "reason": one.reason} for one in problems]
        listed = [one._asdict() for one in tenants]
        options.echo_json({"node": node, "backend": "l7", "tenants": listed, "problems": said})
        return
    for problem in problems:
        click.echo(f"{problem.unit}: {problem.reason}", err=True)
    click.echo(compile_l7.text(tenants), nl=False)


def _compiled(world: Any, node: Any) -> tuple[Any, Any, list[Any]]:
    """The flows and groups of the node, and what could not be compiled as it is written."""
    from itertools import count

    from sluice.contracts.groups import Page
    from sluice.contracts.ids import ALL_NODES, Revision
    from sluice.contracts.objects import Namespace, Node, Pod
    from sluice.dataplane.ovs.engine import Engine
    from sluice.dataplane.ovs.ids import RuleIds
    from sluice.dataplane.ovs.ports import LocalPort
    from sluice.dataplane.ovs.serving import Serving
    from sluice.grouping.events import ObjectEvent, key_of
    from sluice.grouping.index import Grouping
    from sluice.lab.ways import uplinks, way_flows
    from sluice.lab.world import mac_of
    from sluice.policy.backends import backend_of
    from sluice.policy.compiler import Compiler, Groups
    from sluice.policy.services import Services

    compiler, groups, grouping, services = Compiler(), Groups(), Grouping(), Services()
    sequence = count(1)
    for document in world.objects.values():
        at = Revision(1, next(sequence))
        compiler.put(document.object, at)
        groups.put(document.object, at)
        services.evolve(ObjectEvent(key_of(document.object), document.object, at))
        if isinstance(document.object, Namespace | Node | Pod):
            grouping.put(document.object)
    for group, selector in groups.selectors.items():
        grouping.select(group, selector)
    ids = RuleIds()
    engine, serving = Engine(node, ids), Serving(node, ids)
    for _, served in sorted(services.programs.items()):
        serving.put(served)
    changes = serving.drain()
    for service in sorted(changes.services):
        engine.serve(service, serving.numbers(service))
    here = set(grouping.groups_on(node))
    for (group, unit), program in sorted(compiler.programs.items()):
        if (group in here or group == ALL_NODES) and backend_of(unit) == "ovs":
            engine.put_program(program)
    for group in sorted(groups.selectors):
        for place in grouping.nodes(group):
            members = grouping.members(group, place)
            engine.put_page(Page(group=group, node=place, cause=Revision(1, 0), members=members))
    pods = sorted(pod for pod in world.pods().values() if pod.node == node and not pod.host_network)
    for number, pod in enumerate(pods, start=1):
        engine.open_port(LocalPort(pod.pod, pod.uid, number, mac_of(pod.addresses[0]), pod.addresses))
    ways = way_flows(world, node, uplinks(world, node, len(pods)))
    flows = {**engine.flows, **ways, **{key: body for key, body in changes.flows.items() if body is not None}}
    chosen = {number: buckets for number, buckets in changes.groups.items() if buckets is not None}
    return flows, chosen, sorted({*compiler.problems, *engine.problems(), *serving.problems()})
