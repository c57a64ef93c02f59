"""`sluice verdict`: what happens to one packet, and which rule says so?"""

from collections.abc import Mapping
from typing import Any

import click

from sluice.cli import options

PROTOCOLS = ("TCP", "UDP", "SCTP", "ICMP")
END = "NAMESPACE/POD, or an address; NAMESPACE/POD@NETWORK for its interface on a secondary network."


@click.command()
@options.files
@click.option("--from", "source", required=True, metavar="END", help=END)
@click.option("--to", "destination", required=True, metavar="END", help=END)
@click.option("--protocol", type=click.Choice(PROTOCOLS, case_sensitive=False), default="TCP", show_default=True)
@click.option("--port", type=click.IntRange(1, 65_535), help="Destination port; not for ICMP.")
@click.option("--source-port", type=click.IntRange(1, 65_535))
@click.option("--icmp-type", type=click.IntRange(0, 255))
@click.option("--icmp-code", type=click.IntRange(0, 255))
@click.option("--family", type=click.Choice(["4", "6"]), help="Between Pods that have addresses of both.")
@click.option("--fqdn", metavar="NAME", help="The name for which DNS told the sender this destination.")
@click.option("--http", metavar="'METHOD HOST/PATH'", help="What the connection asks first, as 'GET foo.bar.com/api'.")
@click.option("--sni", metavar="NAME", help="Whom the connection's TLS handshake names; '' for one that names nobody.")
@options.output("table")
def verdict(files: tuple[str, ...], source: str, destination: str, output: str, **fields: Any) -> None:
    """Say what happens to a packet, and which rule decides that in each direction.

    Without --http or --sni a connection asks nothing, and rules with l7Protocols allow none. Pods without a node or an
    address get one, as in a lab. Exits with 0 whatever the answer, with 2 on bad input.
    """
    from sluice.cli.loading import load_all
    from sluice.cli.placing import placed
    from sluice.policy.ends import NoSuchEnd
    from sluice.policy.packet import Packet
    from sluice.policy.state import ClusterState
    from sluice.policy.verdict import verdict as judge

    transport = fields["protocol"] != "ICMP"
    if transport and fields["port"] is None:
        raise click.UsageError(f"--port is missing: a {fields['protocol']} packet goes to one")
    if not transport and (fields["port"] or fields["source_port"]):
        raise click.UsageError("--port and --source-port: an ICMP packet has none; leave them out")
    if transport and (fields["icmp_type"] is not None or fields["icmp_code"] is not None):
        raise click.UsageError(f"--icmp-type and --icmp-code: a {fields['protocol']} packet has none; leave them out")
    family: Any = int(fields.pop("family")) if fields["family"] else fields.pop("family")
    http, sni = fields.pop("http"), fields.pop("sni")
    asks = _asked(http, sni, fields["protocol"])
    ends = {"source": _end(source, "--from"), "destination": _end(destination, "--to")}
    packet = Packet(**ends, asks=asks, family=family, **{**fields, "fqdn": fields["fqdn"] or ""})
    world = placed(load_all(files))
    try:
        given = judge(ClusterState(document.object for document in world.objects.values()), packet)
    except NoSuchEnd as error:
        options.refuse([str(error)])
    asked = {key: value for key, value in {**fields, "http": http, "sni": sni}.items() if value is not None}
    answer: dict[str, Any] = {"from": source, "to": destination, **asked, "outcome": given.outcome}
    for direction, decision in (("egress", given.egress), ("ingress", given.ingress)):
        answer[direction] = _told(decision, world.objects) if decision else None
    if output == "json":
        options.echo_json(answer)
    else:
        port = f" {fields['port']}" if fields["port"] else ""
        click.echo(f"{source} to {destination}, {fields['protocol']}{port}: {given.outcome}")
        click.echo(options.table([*_rows("egress", answer["egress"]), *_rows("ingress", answer["ingress"])]))


def _asked(http: str | None, sni: str | None, protocol: str) -> Any:
    """The request or the handshake, or None for a connection that asks nothing."""
    from sluice.policy.l7 import HttpRequest, TlsHello

    if http is None and sni is None:
        return None
    if http is not None and sni is not None:
        raise click.UsageError("--http and --sni: what is inside TLS nobody sees; leave one out")
    if protocol != "TCP":
        raise click.UsageError(f"--http and --sni: a {protocol} packet has neither; leave them out")
    if sni is not None:
        return TlsHello(sni=sni)
    method, _, rest = (http or "").partition(" ")
    host, slash, path = rest.partition("/")
    if not method or not slash or " " in rest:
        raise click.BadParameter(
            f"{http!r} is no request; write METHOD HOST/PATH, as in 'GET foo.bar.com/api/v2/x'", param_hint="--http"
        )
    return HttpRequest(method=method, host=host.partition(":")[0], path=f"/{path.partition('?')[0].partition('#')[0]}")


def _end(text: str, option: str) -> Any:
    from ipaddress import ip_address

    from sluice.contracts.ids import Address
    from sluice.policy.packet import AddressEnd, PodEnd

    pod, at, network = text.partition("@")
    match pod.split("/"):
        case [namespace, name] if namespace and name and (network or not at):
            return PodEnd(namespace, name, network if not network or "/" in network else f"{namespace}/{network}")
        case [address] if not at:
            try:
                return AddressEnd(Address(str(ip_address(address))))
            except ValueError:
                pass
        case _:
            pass
    raise click.BadParameter(
        f"{text!r} is no end of a packet; write NAMESPACE/POD[@NETWORK] or an address", param_hint=option
    )


def _told(decision: Any, objects: Mapping[Any, Any]) -> dict[str, Any]:
    """The decision, with the lines that it comes from."""
    from sluice.policy.verdict import Isolation, RuleRef

    reason = decision.reason
    told: dict[str, Any] = {"action": decision.action, "reason": reason.__struct_config__.tag}
    if isinstance(reason, RuleRef):
        told["rule"] = _rule(reason, objects)
    if isinstance(reason, Isolation):
        told["isolated_by"] = [_policy(origin, "$.spec", objects) for origin in reason.policies]
    return {**told, "passed": [_rule(rule, objects) for rule in decision.passed]}


def _rule(rule: Any, objects: Mapping[Any, Any]) -> dict[str, Any]:
    policy = _policy(rule.origin, f"$.spec.{rule.direction}[{rule.index}]", objects)
    return {**policy, "rule": rule.index, "rule_name": rule.name, "action": rule.action}


def _policy(origin: Any, path: str, objects: Mapping[Any, Any]) -> dict[str, Any]:
    """The policy, and where this part of it is written."""
    from sluice.contracts.kinds import RESOURCES

    place = objects[origin.kind, origin.namespace, origin.name].problem(path, "")
    kind = RESOURCES[origin.kind].kind
    return {
        "kind": kind,
        "namespace": origin.namespace,
        "name": origin.name,
        "file": place.file,
        "line": place.line,
    }


def _rows(direction: str, told: dict[str, Any] | None) -> list[tuple[str, str, str, str]]:
    """Direction, action, words and line; a line for each rule that passed, and for each policy that isolates."""
    if told is None:
        return [(f"  {direction}", "-", "no Pod, so no policy is about it", "")]
    found = [("pass", *_words(rule)) for rule in told["passed"]]
    match told["reason"]:
        case "rule":
            found.append((told["action"], *_words(told["rule"])))
        case "isolation":
            for place, policy in enumerate(told["isolated_by"]):
                words = f"no rule allows it, and it is isolated by {_name(policy)}" if place == 0 else _name(policy)
                found.append((told["action"] if place == 0 else "", words, _line(policy)))
        case "itself":
            found.append((told["action"], "a Pod may talk to itself", ""))
        case _:
            found.append((told["action"], "no policy applies", ""))
    return [(f"  {direction}" if place == 0 else "", *row) for place, row in enumerate(found)]


def _words(rule: dict[str, Any]) -> tuple[str, str]:
    name = f" ({rule['rule_name']})" if rule["rule_name"] else ""
    return f"{_name(rule)}, rule {rule['rule']}{name}", _line(rule)


def _name(policy: dict[str, Any]) -> str:
    return f"{policy['kind']} {'/'.join(filter(None, (policy['namespace'], policy['name'])))}"


def _line(policy: dict[str, Any]) -> str:
    return f"{policy['file']}:{policy['line']}"
