"""Tier, ClusterNetworkPolicy, NetworkPolicy, ClusterGroup and Group of crd.antrea.io/v1beta1.

What a schema cannot express is left to the webhook: where appliedTo may be given, duplicate names, what Services,
multicast and IGMP exclude, excepts inside of blocks, and everything that depends on other objects.
"""

from typing import Any, get_args

from sluice.admission.antrea_ends import Way
from sluice.admission.antrea_policy import HIGHEST, LOWEST
from sluice.admission.antrea_rule import ALL_HOSTS, ICMP_NUMBERS, IGMP_TYPES
from sluice.admission.crd.definition import Column, definition
from sluice.admission.crd.pieces import (
    LABEL_VALUE,
    MAX_LABEL,
    MAX_NAME,
    NAME,
    Schema,
    array,
    at_most_one_way,
    block,
    conditions,
    given,
    integer,
    needs,
    obj,
    one_of,
    one_way,
    reference,
    rule,
    selector,
    text,
)
from sluice.admission.l7 import MAX_PATH, METHODS
from sluice.admission.network_policy import PORTS
from sluice.admission.tier import LOWEST_STATIC, PRIORITIES
from sluice.contracts.antrea import STATIC_TIERS, AntreaAction
from sluice.contracts.kinds import Kind
from sluice.contracts.pieces import Protocol

_PODS = ("podSelector", "namespaceSelector")
_FQDN = "^[-0-9a-zA-Z.*]+$"
_GROUP = "^(22[4-9]|23[0-9])[.]"


def tier() -> dict[str, Any]:
    static = ", ".join(f"'{name}': {priority}" for name, priority in STATIC_TIERS.items())
    priority = integer(PRIORITIES) | {
        "x-kubernetes-validations": [
            rule("self == oldSelf", "the priority of a tier cannot be changed; create another tier")
        ]
    }
    spec = obj({"priority": priority, "description": text()}, required=("priority",))
    named = (
        f"self.metadata.name in {{{static}}} ? "
        f"self.spec.priority == {{{static}}}[self.metadata.name] : self.spec.priority < {LOWEST_STATIC}"
    )
    message = f"a static tier always has its priority, and any other one below {LOWEST_STATIC}"
    return definition(
        Kind.TIER,
        {"spec": spec},
        short=("tr",),
        columns=(Column("Priority", "integer", ".spec.priority"),),
        rules=(rule(named, message),),
        status=False,
    )


def cluster_network_policy() -> dict[str, Any]:
    return _policy(Kind.CLUSTER_NETWORK_POLICY, namespaced=False, short=("acnp",))


def network_policy() -> dict[str, Any]:
    return _policy(Kind.ANTREA_NETWORK_POLICY, namespaced=True, short=("annp",))


def cluster_group() -> dict[str, Any]:
    return _group(Kind.CLUSTER_GROUP, {"nodeSelector": selector()}, short=("cg",))


def group() -> dict[str, Any]:
    return _group(Kind.GROUP, {}, short=("grp",))


# ------------------------------------------------------------------------------------------------------------- policies


def _policy(kind: Kind, *, namespaced: bool, short: tuple[str, ...]) -> dict[str, Any]:
    spec = obj(
        {
            "priority": {"type": "number", "format": "float", "minimum": LOWEST, "maximum": HIGHEST},
            "tier": text(longest=MAX_NAME, about="The tier; unset means application."),
            "appliedTo": array(_applied_to(namespaced=namespaced)),
            "ingress": array(_rule("ingress", namespaced=namespaced)),
            "egress": array(_rule("egress", namespaced=namespaced)),
        },
        required=("priority",),
    )
    status: Schema = {
        "type": "object",
        "properties": {
            "phase": text(),
            "observedGeneration": {"type": "integer", "format": "int64"},
            "desiredNodesRealized": {"type": "integer", "format": "int32"},
            "currentNodesRealized": {"type": "integer", "format": "int32"},
            "conditions": conditions(),
        },
    }
    columns = (
        Column("Tier", "string", ".spec.tier"),
        Column("Priority", "number", ".spec.priority"),
        Column("Phase", "string", ".status.phase", wide=True),
        Column("Desired Nodes", "integer", ".status.desiredNodesRealized", wide=True),
        Column("Current Nodes", "integer", ".status.currentNodesRealized", wide=True),
    )
    return definition(kind, {"spec": spec, "status": status}, short=short, columns=columns, status=True)


def _applied_to(*, namespaced: bool, of_rule: bool = False, way: Way = "ingress") -> Schema:
    properties: dict[str, Schema] = {"podSelector": selector(), "group": text(longest=MAX_NAME, pattern=NAME)}
    ways: list[tuple[str, ...]] = [("podSelector",), ("group",)]
    if not namespaced:
        properties |= {"namespaceSelector": selector(), "serviceAccount": reference()}
        ways = [_PODS, ("group",), ("serviceAccount",)]
        if way == "ingress":
            properties["service"] = reference()
            ways.append(("service",))
        if not of_rule:
            properties["nodeSelector"] = selector()
            ways.append(("nodeSelector",))
    return obj(properties, at_least=1, all_of=(one_way(*ways),))


def _rule(way: Way, *, namespaced: bool) -> Schema:
    properties: dict[str, Schema] = {
        "action": text(of=get_args(AntreaAction)),
        "name": text(),
        "appliedTo": array(_applied_to(namespaced=namespaced, of_rule=True, way=way)),
        "from" if way == "ingress" else "to": array(_peer(way, namespaced=namespaced)),
        "ports": array(_port()),
        "protocols": array(_protocol(way)),
        "l7Protocols": array(_l7()),
        "enableLogging": {"type": "boolean"},
        "logLabel": text(longest=MAX_LABEL, pattern=LABEL_VALUE),
    }
    exclusive: list[Schema] = [
        {"anyOf": [{"not": given("l7Protocols")}, {"properties": {"action": {"enum": ["Allow"]}}}]}
    ]
    if way == "egress":
        name = text(longest=MAX_NAME, pattern=NAME)
        required = ("name",) if namespaced else ("name", "namespace")
        properties["toServices"] = array(obj({"name": name, "namespace": name}, required=required))
        exclusive += at_most_one_way(("toServices",), ("to", "ports", "protocols", "l7Protocols"))
    return obj(properties, required=("action",), all_of=exclusive)


def _peer(way: Way, *, namespaced: bool) -> Schema:
    properties: dict[str, Schema] = {
        "podSelector": selector(),
        "namespaceSelector": selector(),
        "ipBlock": block(),
        "group": text(longest=MAX_NAME, pattern=NAME),
        "nodeSelector": selector(),
    }
    pods: tuple[str, ...] = _PODS
    ways: list[tuple[str, ...]] = [("ipBlock",), ("group",), ("nodeSelector",)]
    exclusive: list[Schema] = []
    if not namespaced:
        spaces = obj(
            {"match": text(of=("Self",)), "sameLabels": array(text(), at_least=1)},
            all_of=(one_way(("match",), ("sameLabels",)),),
        )
        properties |= {"namespaces": spaces, "serviceAccount": reference()}
        pods = (*_PODS, "namespaces")
        ways.append(("serviceAccount",))
        exclusive += at_most_one_way(("namespaces",), ("namespaceSelector",))
    if way == "egress":
        properties["fqdn"] = text(longest=MAX_NAME, pattern=_FQDN)
        ways.append(("fqdn",))
    return obj(properties, at_least=1, all_of=(one_way(pods, *ways), *exclusive))


def _port() -> Schema:
    numbers = integer(PORTS)
    named = {"x-kubernetes-int-or-string": True, "minimum": PORTS[0], "maximum": PORTS[-1], "maxLength": 15}
    return obj(
        {
            "protocol": text(of=get_args(Protocol)),
            "port": named,
            "endPort": numbers,
            "sourcePort": numbers,
            "sourceEndPort": numbers,
        },
        all_of=(needs("endPort", "port"), needs("sourceEndPort", "sourcePort")),
    )


def _protocol(way: Way) -> Schema:
    address = text(of=(ALL_HOSTS,)) if way == "ingress" else text(form="ipv4", pattern=_GROUP)
    return obj(
        {
            "icmp": obj({"icmpType": integer(ICMP_NUMBERS), "icmpCode": integer(ICMP_NUMBERS)}),
            "igmp": obj({"igmpType": one_of(IGMP_TYPES[way]), "groupAddress": address}),
        },
        all_of=(one_way(("icmp",), ("igmp",)),),
    )


def _l7() -> Schema:
    return obj(
        {
            "http": obj({"host": text(longest=MAX_NAME), "method": text(of=METHODS), "path": text(longest=MAX_PATH)}),
            "tls": obj({"sni": text(longest=MAX_NAME)}),
        },
        all_of=(one_way(("http",), ("tls",)),),
    )


# --------------------------------------------------------------------------------------------------------------- groups


def _group(kind: Kind, more: dict[str, Schema], *, short: tuple[str, ...]) -> dict[str, Any]:
    properties: dict[str, Schema] = {
        "podSelector": selector(),
        "namespaceSelector": selector(),
        "ipBlock": block(),
        "ipBlocks": array(block()),
        "serviceReference": reference(),
        "childGroups": array(text(longest=MAX_NAME, pattern=NAME)),
        **more,
    }
    others = [name for name in properties if name not in _PODS]
    counted = " + ".join(f"(has(self.{name}) ? 1 : 0)" for name in others)
    pods = " || ".join(f"has(self.{name})" for name in _PODS)
    spec = obj(
        properties,
        rules=(
            rule(
                f"(({pods}) ? 1 : 0) + {counted} <= 1",
                f"a group has only one of podSelector with or without namespaceSelector, {', '.join(others)}",
            ),
        ),
    )
    status: Schema = {"type": "object", "properties": {"conditions": conditions()}}
    return definition(kind, {"spec": spec, "status": status}, short=short, status=True, required=())
