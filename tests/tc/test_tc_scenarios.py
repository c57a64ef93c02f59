"""Policies of secondary networks on a real kernel: what `verdict` says is what becomes of packets between Pods.

Every Pod asks every other one, over TCP, UDP, SCTP and ICMP, IPv4 and IPv6; all four are on one node, so that most
packets meet the filters of two. `allowed` and `denied` are the cells that a row is about; the rest is `verdict`'s.
"""

from typing import Any, NamedTuple

import pytest
from tests.tc import scene
from tests.tc.scene import Cell

from sluice.contracts.objects import AnyObject
from sluice.dataplane.tc.content import NO_OPTIONS
from sluice.lab.guest.guest import Guest
from sluice.testkit import builders

pytestmark = pytest.mark.guest

Given = tuple[AnyObject, ...]


def about(app: str, **spec: Any) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": {"app": app}}, **spec}


def named(app: str) -> dict[str, Any]:
    return {"podSelector": {"matchLabels": {"app": app}}}


def block(cidr: str, *excepts: str) -> dict[str, Any]:
    return {"ipBlock": {"cidr": cidr, **({"except": list(excepts)} if excepts else {})}}


def policy(name: str, **spec: Any) -> AnyObject:
    return builders.multi(f"x/{name}", spec)


class Row(NamedTuple):
    name: str
    policies: Given
    allowed: list[Cell]
    denied: list[Cell]


def tcp(source: str, to: str, port: int = 80, family: int = 4) -> Cell:
    return source, to, "TCP", port, family


ROWS = [
    Row("nothing", (), [tcp("x/a", "x/b")], []),
    Row(
        "ingress",
        (policy("in", **about("a", ingress=[{"from": [named("b")]}])),),
        [tcp("x/b", "x/a"), tcp("x/a", "x/c"), ("x/b", "x/a", "SCTP", 80, 6)],
        [tcp("x/c", "x/a"), ("x/c", "x/a", "UDP", 80, 6)],
    ),
    Row(
        "egress",
        (policy("out", **about("a", policyTypes=["Egress"], egress=[{"to": [named("b")]}])),),
        [tcp("x/a", "x/b", family=6), tcp("x/c", "x/a")],
        [tcp("x/a", "x/c"), ("x/a", "y/d", "UDP", 5500, 4)],
    ),
    Row(
        "stacked policies are a union",
        (
            policy("one", **about("a", ingress=[{"from": [named("b")], "ports": [{"port": 80}]}])),
            policy("two", **about("a", ingress=[{"from": [named("c")], "ports": [{"port": 81}]}])),
        ),
        [tcp("x/b", "x/a", 80), tcp("x/c", "x/a", 81)],
        [tcp("x/b", "x/a", 81), tcp("x/c", "x/a", 80)],
    ),
    Row(
        "lists of peers and of ports",
        (
            policy(
                "lists",
                **about(
                    "a",
                    ingress=[
                        {
                            "from": [named("b"), block("10.0.0.3/32")],
                            "ports": [{"port": 80}, {"port": 80, "protocol": "UDP"}],
                        }
                    ],
                ),
            ),
        ),
        [tcp("x/b", "x/a"), tcp("x/c", "x/a"), ("x/c", "x/a", "UDP", 80, 4)],
        [tcp("x/c", "x/a", family=6), tcp("x/b", "x/a", 81)],
    ),
    Row(
        "except is taken from its own peer alone",
        (
            policy(
                "except",
                **about(
                    "a",
                    ingress=[
                        {"from": [block("10.0.0.0/24", "10.0.0.2/31"), named("c")], "ports": [{"port": 80}]},
                        {"from": [block("10.0.0.0/24", "10.0.0.4/32")], "ports": [{"port": 81}]},
                    ],
                ),
            ),
        ),
        [tcp("x/c", "x/a"), tcp("y/d", "x/a"), tcp("x/b", "x/a", 81)],
        [tcp("x/b", "x/a"), tcp("y/d", "x/a", 81)],
    ),
    Row(
        "ranges",
        (policy("range", **about("a", ingress=[{"ports": [{"port": 5000, "endPort": 5900}]}])),),
        [tcp("x/b", "x/a", 5500), tcp("y/d", "x/a", 5500, 6)],
        [tcp("x/b", "x/a", 80), ("x/b", "x/a", "UDP", 5500, 4)],
    ),
    Row(
        "named ports are the destination's",
        (
            policy("in", **about("b", ingress=[{"ports": [{"port": "web"}]}])),
            policy(
                "out",
                **about(
                    "c", policyTypes=["Egress"], egress=[{"to": [{"podSelector": {}}], "ports": [{"port": "web"}]}]
                ),
            ),
        ),
        [tcp("x/a", "x/b", 81), tcp("x/c", "x/a", 80), tcp("x/c", "x/b", 81)],
        [tcp("x/a", "x/b", 80), tcp("x/c", "x/a", 81), tcp("x/c", "y/d", 81)],
    ),
    Row(
        "a protocol without ports",
        (policy("udp", **about("a", ingress=[{"ports": [{"protocol": "UDP"}]}, {"ports": [{"protocol": "SCTP"}]}])),),
        [("x/b", "x/a", "UDP", 5500, 4), ("x/b", "x/a", "UDP", 80, 6), ("x/b", "x/a", "SCTP", 80, 4)],
        [tcp("x/b", "x/a")],
    ),
    Row(
        "IPv6 alone, with neighbour discovery alive",
        (policy("six", **about("a", ingress=[{"from": [block("fd00::/64", "fd00::4/128")]}])),),
        [tcp("x/b", "x/a", family=6)],
        [tcp("x/b", "x/a"), tcp("y/d", "x/a", family=6)],
    ),
    Row(
        "two policed Pods on one node",
        (
            policy("out", **about("a", policyTypes=["Egress"], egress=[{"to": [named("b")]}])),
            policy(
                "in",
                **about(
                    "b", ingress=[{"from": [named("a")], "ports": [{"port": 80}, {"port": 80, "protocol": "UDP"}]}]
                ),
            ),
        ),
        [tcp("x/a", "x/b"), ("x/a", "x/b", "UDP", 80, 6), tcp("x/b", "x/a")],
        [tcp("x/a", "x/b", 81), ("x/a", "x/b", "UDP", 5500, 4), tcp("x/a", "x/c"), tcp("x/c", "x/b")],
    ),
    Row(
        "who selects nobody allows nobody",
        (policy("nobody", **about("a", ingress=[{"from": [named("ghost")], "ports": [{"port": 80}]}])),),
        [tcp("x/a", "x/b")],
        [tcp("x/b", "x/a")],
    ),
    Row(
        "namespaces and expressions",
        (
            policy(
                "elsewhere",
                podSelector={"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["b", "c"]}]},
                ingress=[{"from": [{"namespaceSelector": {"matchLabels": {"name": "y"}}}]}],
            ),
        ),
        [tcp("y/d", "x/a"), tcp("x/a", "x/b")],
        [tcp("x/b", "x/a")],
    ),
    Row(
        "everything is closed",
        (policy("closed", policyTypes=["Ingress", "Egress"]),),
        [],
        [tcp("x/a", "x/b"), tcp("x/b", "x/c", family=6), ("x/a", "y/d", "UDP", 80, 4)],
    ),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_in_zones(row: Row, whole: Guest) -> None:
    judge(row, whole.call(scene.play, row.policies, True, NO_OPTIONS))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_without_zones(row: Row, quick: Guest) -> None:
    judge(row, quick.call(scene.play, row.policies, False, NO_OPTIONS))


def judge(row: Row, found: dict[Cell, bool]) -> None:
    expected = scene.expected(row.policies)
    assert {cell: expected[cell] for cell in (*row.allowed, *row.denied)} == {
        **dict.fromkeys(row.allowed, True),
        **dict.fromkeys(row.denied, False),
    }, "the row is about something else"

    assert {cell: got for cell, got in found.items() if got != expected[cell]} == {}
