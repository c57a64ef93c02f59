"""`sluice compile`: what would a node hold?"""

import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

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
@click.option("--node", "nodes", metavar="NAME", multiple=True, help="May be repeated. Default: the only node.")
@click.option("--all-nodes", is_flag=True, help="Every node, one after the other.")
@click.option("--backend", type=click.Choice(["ovs", "tc", "l7", "host"]), required=True)
@options.output("text")
def compile_(files: tuple[str, ...], *, nodes: tuple[str, ...], all_nodes: bool, backend: str, output: str) -> None:
    """Print what a node's backend would hold, in the notation of its own tools.

    ovs: input of ovs-ofctl add-flows, with that of add-groups as comments. tc: a script of tc commands for the
    interfaces on secondary networks. l7: the rule files of the inspection engine's tenants. host: the nftables table
    for policies on Nodes, as input of nft -f.

    Of several nodes, each is printed as soon as it is compiled: as text after a comment with its name, as JSON in a
    document of its own.

    Pods without a node or an address are assigned one, as in a lab; nodes are assigned addresses. Ports are numbered in
    the order of the Pods' names, followed by the tunnel and the gateway. Exits with 0, or with 2 on bad input.
    """
    from sluice.cli.loading import load_all
    from sluice.cli.placing import placed

    if nodes and all_nodes:
        raise click.UsageError("--node and --all-nodes: each says which nodes; leave one out")
    world = placed(load_all(files))
    known = ", ".join(world.nodes)
    if not nodes and not all_nodes and len(world.nodes) > 1:
        choices = f"name one of {known}, or use --all-nodes"
        options.refuse([f"--node is missing: there are several nodes, and each holds different ones; {choices}"])
    for node in nodes:
        if node not in world.nodes:
            options.refuse([f"--node {node}: there is no such node; name one of {known}"])
    chosen = tuple(dict.fromkeys(nodes)) or world.nodes
    told: set[Any] = set()
    for node, (as_json, text, problems) in _compiled(world, chosen, backend):
        if output == "json":
            said = [{"unit": one.unit, "state": one.state, "reason": one.reason} for one in problems]
            options.echo_json({"node": node, "backend": backend, **as_json(), "problems": said})
            continue
        for problem in problems:
            if problem not in told:
                told.add(problem)
                click.echo(problem.words(), err=True)
        if len(chosen) > 1:
            click.echo(f"# node {node}")
        if not _print(text):
            click.echo(f"nothing: {NOTHING[backend]} on {node}", err=True)


class _Made(NamedTuple):
    as_json: Callable[[], dict[str, Any]]
    text: Iterable[str]
    """Made as it is read."""

    problems: list[Any]
    """What could not be compiled as written."""


def _print(text: Iterable[str]) -> bool:
    """Print the text as it is made; False if there is none."""
    written = False
    for part in text:
        sys.stdout.write(part)
        written = written or bool(part)
    sys.stdout.flush()
    return written


def _compiled(world: Any, nodes: Iterable[Any], backend: str) -> Iterator[tuple[Any, _Made]]:
    """What each node's backend would hold."""
    from sluice.cli.derived import Derived

    derived = Derived(world.objects)
    match backend:
        case "tc":
            compile_one = _tc(derived)
        case "l7":
            compile_one = _l7(derived)
        case "host":
            compile_one = _host(world, derived)
        case _:
            compile_one = _ovs(world, derived)
    for node in nodes:
        yield node, compile_one(node)


def _ovs(world: Any, derived: Any) -> Callable[[Any], _Made]:
    from sluice.cli.compile_ovs import Switches
    from sluice.dataplane.ovs import text

    switches = Switches(world, derived)

    def made(node: Any) -> _Made:
        flows, groups, problems = switches.of(node)
        group_lines = text.write_groups(groups).splitlines()
        return _Made(
            lambda: {"flows": list(text.lines(flows)), "groups": group_lines},
            (f"{line}\n" for line in chain((f"# {line}" for line in group_lines), text.lines(flows))),
            problems,
        )

    return made


def _tc(derived: Any) -> Callable[[Any], _Made]:
    from sluice.cli import compile_tc

    def made(node: Any) -> _Made:
        interfaces, problems = compile_tc.compiled(derived, node)
        told = {"interfaces": [one._asdict() for one in interfaces]}
        return _Made(lambda: told, [compile_tc.script(interfaces)], problems)

    return made


def _l7(derived: Any) -> Callable[[Any], _Made]:
    from sluice.cli import compile_l7

    def made(node: Any) -> _Made:
        tenants, problems = compile_l7.compiled(derived, node)
        return _Made(lambda: {"tenants": [one._asdict() for one in tenants]}, [compile_l7.text(tenants)], problems)

    return made


def _host(world: Any, derived: Any) -> Callable[[Any], _Made]:
    from sluice.cli import compile_host

    def made(node: Any) -> _Made:
        script, problems = compile_host.compiled(world, derived, node)
        return _Made(lambda: {"table": script.splitlines()}, [script], problems)

    return made
