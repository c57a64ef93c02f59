"""What a node holds for programs of a later version: never more open than what it understands."""

from typing import Any, NamedTuple

import pytest

from sluice.contracts import codec, subjects
from sluice.contracts.ids import ALL_NODES, GroupId, Revision, Uid, Unit
from sluice.contracts.kinds import Kind
from sluice.contracts.programs import (
    Action,
    BlockPeer,
    Direction,
    GroupPeer,
    Origin,
    PortRange,
    Program,
    Rule,
    ServiceRef,
    TransportTraffic,
)
from sluice.dataplane.unread import closed_form

WEB, PEER = GroupId("web"), GroupPeer(group=GroupId("peers"))
NET, HTTP = BlockPeer(cidr="192.0.2.0/24"), TransportTraffic(protocol="TCP", ports=PortRange(80, 80))
WALL = subjects.unit(Kind.CLUSTER_NETWORK_POLICY, "", "wall")
OF_K8S = subjects.unit(Kind.K8S_NETWORK_POLICY, "x", "db")
AT = Revision(1, 7)
LATER = {"type": "later", "of": [1]}
IN, OUT = Direction.INGRESS, Direction.EGRESS


def program(unit: Unit, *rules: Rule, isolates: tuple[Direction, ...] = ()) -> dict[str, Any]:
    kind, namespace, name = subjects.unit_parts(unit)
    origin = Origin(kind=kind, namespace=namespace, name=name, uid=Uid("u"))
    value = Program(
        unit=unit, applied_to=WEB, cause=AT, origin=origin, tier=50, priority=3, rules=rules, isolates=isolates
    )
    return codec.decode(codec.encode(value), dict[str, Any])


def rule(action: Action, **fields: Any) -> Rule:
    return Rule(index=4, direction=IN, action=action, name="r", **fields)


def closed(given: object, unit: Unit = WALL, group: GroupId = WEB, backend: Any = "ovs") -> Program:
    found = closed_form(backend, group, unit, codec.encode(given), AT)
    assert found is not None
    return found


class Row(NamedTuple):
    name: str
    given: Rule
    changed: dict[str, Any]
    """Fields of the rule as the later version wrote it; of a union, what is added."""

    expected: tuple[Rule, ...]


ALLOW, DROP, REJECT, PASS = (rule(one, peers=(PEER, NET), traffic=(HTTP,)) for one in Action)
ROWS = [
    Row("it is read", ALLOW, {}, (ALLOW,)),
    Row("an allow opens to the peers that are known", ALLOW, {"peers": [LATER]}, (ALLOW,)),
    Row("and so does a pass", PASS, {"peers": [LATER]}, (PASS,)),
    Row("an allow opens the traffic that is known", ALLOW, {"traffic": [LATER]}, (ALLOW,)),
    Row("a drop is about every peer", DROP, {"peers": [LATER]}, (rule(Action.DROP, traffic=(HTTP,)),)),
    Row("a drop is about all traffic", DROP, {"traffic": [LATER]}, (rule(Action.DROP, peers=(PEER, NET)),)),
    Row("a reject is about every peer", REJECT, {"peers": [LATER]}, (rule(Action.REJECT, traffic=(HTTP,)),)),
    Row(
        "what looks into requests drops them",
        rule(Action.ALLOW, traffic=(HTTP,)),
        {"l7": [LATER]},
        (rule(Action.DROP, traffic=(HTTP,)),),
    ),
    Row(
        "an action that is not known drops",
        ALLOW,
        {"action": "later"},
        (rule(Action.DROP, peers=(PEER, NET), traffic=(HTTP,)),),
    ),
    Row("an allow of no known direction opens nothing", ALLOW, {"direction": "sideways"}, ()),
    Row(
        "a drop of no known direction drops in both",
        rule(Action.DROP, traffic=(HTTP,)),
        {"direction": "sideways"},
        tuple(Rule(index=4, direction=one, action=Action.DROP, traffic=(HTTP,), name="r") for one in (IN, OUT)),
    ),
    Row("of no known NodePort nothing is dropped", DROP, {"services": [LATER]}, ()),
    Row(
        "known NodePorts stay",
        rule(Action.DROP, services=(ServiceRef(namespace="x", name="s"),)),
        {"peers": [LATER]},
        (rule(Action.DROP, services=(ServiceRef(namespace="x", name="s"),)),),
    ),
    Row("a log label of another form", DROP, {"log_label": 3}, (DROP,)),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_rule_is_what_is_understood_of_it(row: Row) -> None:
    given = program(WALL, rule(Action.PASS), row.given)
    written = given["rules"][1]
    for field, value in row.changed.items():
        written[field] = [*written.get(field, []), *value] if isinstance(value, list) else value

    found = closed(given)

    assert found.rules == (rule(Action.PASS), *row.expected)
    assert (found.tier, found.priority, found.origin.uid) == (50, 3, "u")


EVERYTHING = tuple(Rule(index=0, direction=one, action=Action.DROP) for one in (IN, OUT))
WHOLE = [{}, [], {"rules": 7}, {**program(WALL), "tier": "later"}, {**program(OF_K8S), "isolates": ["sideways"]}]


@pytest.mark.parametrize("given", WHOLE, ids=str)
def test_of_a_program_that_says_nothing_everything_is_dropped(given: object) -> None:
    assert (closed(given).rules, closed(given).tier) == (EVERYTHING, 0)
    assert (closed(given, OF_K8S).rules, closed(given, OF_K8S).isolates) == ((), (IN, OUT))
    assert closed(given, group=ALL_NODES).rules == (), "which is about nobody's members"
    assert closed(given, backend="host").about_nodes


def test_isolation_stands() -> None:
    allow = Rule(index=0, direction=IN, action=Action.ALLOW, peers=(PEER,))
    given = program(OF_K8S, allow, isolates=(IN,))
    given["rules"][0]["peers"] = [LATER]
    found = closed(given, OF_K8S)

    assert found.isolates == (IN,)
    assert [one.peers for one in found.rules] == [()]


def test_what_is_no_policy_closes_nothing() -> None:
    unit = subjects.unit(Kind.TRAFFIC_CONTROL, "", "mirror")

    assert closed_form("ovs", WEB, unit, b"{}", AT) is None


def test_what_is_no_json_is_closed_as_well() -> None:
    assert closed_form("ovs", WEB, WALL, b"\xff{", AT) == closed({})
