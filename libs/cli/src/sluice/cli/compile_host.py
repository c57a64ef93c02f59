"""The nftables table that a node would have for policies on Nodes."""

from sluice.cli.derived import Derived
from sluice.contracts.groups import NodeRoute
from sluice.contracts.ids import NodeName, Revision
from sluice.contracts.status import Problem
from sluice.dataplane.host import guard, text
from sluice.dataplane.host.engine import Engine
from sluice.lab.world import World


def compiled(world: World, derived: Derived, node: NodeName) -> tuple[str, list[Problem]]:
    """The table in nft(8) notation, and what could not be compiled as written.

    It has the lifelines common to all nodes; further ones are configured in a deployment's node-host.
    """
    engine = Engine(node, guard.dhcp())
    programs = derived.programs_of("host", node)
    for page in derived.pages(programs):
        engine.put_page(page)
    for program in programs:
        engine.put_program(program)
    engine.route_is(NodeRoute(node=node, cause=Revision(1, 0), pod_cidrs=world.node(node).spec.pod_cidrs))
    problems = sorted({*derived.compiler.problems, *engine.problems()})
    return (text.write(engine.table()) if engine.rules else ""), problems
