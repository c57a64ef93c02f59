"""The nftables table that a node would have for policies on Nodes."""

from typing import Any


def compiled(documents: Any, node: Any) -> tuple[str, list[Any]]:
    """The table in nft(8) notation, and what could not be compiled as written.

    It has the lifelines common to all nodes; further ones are configured in a deployment's node-host.
    """
    from sluice.cli.derived import derive
    from sluice.contracts.groups import NodeRoute, Page
    from sluice.contracts.ids import Revision
    from sluice.contracts.kinds import Kind
    from sluice.dataplane.host import guard, text
    from sluice.dataplane.host.engine import Engine
    from sluice.policy.backends import backend_of

    compiler, groups, grouping, *_ = derive(documents)
    engine = Engine(node, guard.dhcp())
    for group in sorted(groups.selectors):
        for place in grouping.nodes(group):
            members = grouping.members(group, place)
            engine.put_page(Page(group=group, node=place, cause=Revision(1, 0), members=members))
    for _, program in sorted(compiler.programs.items()):
        if backend_of(program) == "host":
            engine.put_program(program)
    own = next(one.object for key, one in documents.items() if (key.kind, key.name) == (Kind.NODE, node))
    engine.route_is(NodeRoute(node=node, cause=Revision(1, 0), pod_cidrs=own.spec.pod_cidrs))
    problems = sorted({*compiler.problems, *engine.problems()})
    return (text.write(engine.table()) if engine.rules else ""), problems
