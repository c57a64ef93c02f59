"""`sluice get flows|filters|signatures|nftables`: what nodes hold, in each tool's notation, and where it comes from."""

from typing import Any

import click

from sluice.cli import api, options, watching

_ABOUT = {
    "flows": ("ovs", "List the flows of Open vSwitch, in the notation of ovs-ofctl."),
    "filters": ("tc", "List the TC filters, in the notation of tc."),
    "signatures": ("l7", "List the signatures of the inspection engine, in the notation of Suricata."),
    "nftables": ("host", "List the lines of the nftables table for policies on Nodes, in the notation of nft."),
}
_MORE = """

    OF shows the policy and rule behind each; if there are several, the first and the number of the others. If there is
    none, it shows the Pod, Service, TrafficControl or Node that it is for, or its purpose. -o wide shows more, and -o
    json everything. Exits with 0, or with 2 on bad input.
    """

_COLUMNS = ("NODE", "KIND", "OF", "HELD")
_WIDE = ("NODE", "TABLE", "KIND", "OF", "REVISION", "DOES", "HELD")


def _command(words: str, backend: str, about: str) -> click.Command:
    @click.command(name=words, help=about + _MORE)
    @click.option("--node", metavar="NODE", help="Only on this node. Default: all nodes that have any.")
    @click.option("--policy", metavar="UNIT", help="Only those of this policy, such as acnps:_:deny.")
    @click.option("--pod", metavar="NAMESPACE/POD", help="Only those of this Pod's port or interfaces.")
    @watching.flag
    @api.asks_the_api
    @options.output("table", "wide", "yaml")
    def command(
        *, node: str | None, policy: str | None, pod: str | None, watch: bool, output: str, **where: Any
    ) -> None:
        there = api.Api(**where)

        def fetch() -> list[dict[str, Any]]:
            nodes = [node] if node else _nodes(there, backend)
            return [
                {"node": one, **item}
                for one in nodes
                for item in there.items(f"/v1/nodes/{one}/programs/{backend}", limit=1_000)
                if _is_of(item, policy, pod)
            ]

        wide = output == "wide"
        shown = watching.Listing(_WIDE if wide else _COLUMNS, _wide if wide else _row, _key)
        shown.show(fetch, output, watch=watch)

    return command


flows, filters, signatures, nftables = (_command(words, *about) for words, about in _ABOUT.items())


def _nodes(there: api.Api, backend: str) -> list[str]:
    return [one["node"] for one in there.all("/v1/nodes") if one["backend"] == backend]


def _key(one: dict[str, Any]) -> tuple[Any, ...]:
    return one["node"], *one.get("places", ()), one["line"]


def _is_of(item: dict[str, Any], policy: str | None, pod: str | None) -> bool:
    units = {_unit(rule["policy"]) for rule in item.get("rules", ())}
    units |= {_unit(one) for one in item.get("objects", ())}
    return (policy is None or policy in units) and (pod is None or pod in item.get("pods", ()))


def _unit(named: dict[str, Any]) -> str:
    return f"{named['kind']}:{named.get('namespace') or '_'}:{named['name']}"


def _of(one: dict[str, Any]) -> str:
    """Where it comes from, in a few words."""
    names = [_rule(rule) for rule in one.get("rules", ())]
    names += [_unit(other) for other in one.get("objects", ())]
    names += [f"services:{other['namespace']}:{other['name']}" for other in one.get("services", ())]
    names = names or [f"pods:{pod.replace('/', ':')}" for pod in one.get("pods", ())]
    more = f" (+{len(names) - 1})" if len(names) > 1 else ""
    return f"{names[0]}{more}" if names else "-"


def _rule(rule: dict[str, Any]) -> str:
    index = rule.get("index")
    return f"{_unit(rule['policy'])} {rule['direction']}" + (f"[{index}]" if index is not None else "")


def _revision(one: dict[str, Any]) -> str:
    """The newest revision that it reflects."""
    told = [rule["object_revision"][1] for rule in one.get("rules", ())]
    told += [other["revision"][1] for other in one.get("objects", ()) if other.get("revision")]
    return str(max(told)) if told else "-"


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    return one["node"], one["kind"], _of(one), one["line"]


def _wide(one: dict[str, Any]) -> tuple[str, ...]:
    table = one.get("table") or "-"
    return one["node"], table, one["kind"], _of(one), _revision(one), one["says"], one["line"]
