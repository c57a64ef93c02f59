"""The rules that hand NodePorts over: whatever is there before, no packet is lost on the way to them."""

from collections.abc import Iterable, Iterator
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.dataplane.node_ports import FIRST, KERNEL, LATER, LOCAL, MARK, TABLE, Rule, Verb, plan, rules, written

GATEWAY = "gw0"
FRESH = (FIRST, Rule(32766, 254, KERNEL), Rule(32767, 253, KERNEL))
SOMEBODYS = Rule(100, 77, 3, comes_from="eth1")
HANDED = rules("30000:32767", GATEWAY)
EVERYTHING = (*rules("20000:20010", "gw1"), *HANDED, *FRESH, SOMEBODYS)

PACKETS = list(product(("lo", GATEWAY, "eth0", "eth1"), (6, 17, 1), (80, 30_080)))
"""To an address of the node: where it comes from, its protocol and its port."""


def becomes(there: Iterable[Rule], comes_from: str, transport: int, port: int) -> str:
    """Who has the packet: the node, the switch, or somebody else's table. The kernel asks in the order of prefs."""
    for rule in sorted(there):
        low, high = map(int, rule.ports.split(":")) if rule.ports else (0, 0xFFFF)
        if rule.comes_from in ("", comes_from) and rule.transport in (0, transport) and low <= port <= high:
            match rule.table:
                case 255:
                    return "node"
                case 5100:
                    return "switch"
                case 77:
                    return "somebody"
                case _:
                    continue  # main has no route to the node itself
    return "nobody"


def steps(wanted: Iterable[Rule], there: Iterable[Rule]) -> Iterator[set[Rule]]:
    """The rules before, and after each step."""
    now = set(there)
    yield set(now)
    for verb, rule in plan(wanted, now):
        match verb:
            case Verb.ADD:
                now.add(rule)
            case Verb.DELETE:
                now.remove(rule)
        yield set(now)


@pytest.mark.parametrize(
    ("comes_from", "transport", "port", "who"),
    [
        ("eth0", 6, 30_080, "switch"),
        ("eth0", 17, 30_080, "switch"),
        ("eth0", 132, 32_767, "switch"),
        ("eth0", 6, 80, "node"),
        ("eth0", 1, 0, "node"),
        ("lo", 6, 30_080, "node"),
        (GATEWAY, 6, 30_080, "node"),
    ],
)
def test_what_comes_to_a_node_port_from_outside_is_the_switchs(
    comes_from: str, transport: int, port: int, who: str
) -> None:
    *_, after = steps(HANDED, FRESH)

    assert becomes(after, comes_from, transport, port) == who
    assert becomes(FRESH, comes_from, transport, port) == "node"


@given(st.sets(st.sampled_from(EVERYTHING)).map(lambda some: some | {FIRST}), st.sampled_from([HANDED, rules("", "")]))
def test_a_plan_closes_the_gap_and_a_packet_goes_the_old_way_or_the_new_one(
    there: set[Rule], wanted: tuple[Rule, ...]
) -> None:
    passed = list(steps(wanted, there))

    after = passed[-1]
    assert plan(wanted, after) == ()
    assert {rule for rule in after if rule.protocol == MARK or rule in (FIRST, LATER)} == set(wanted)
    assert {SOMEBODYS, *FRESH[1:]} & there == {SOMEBODYS, *FRESH[1:]} & after
    for packet in PACKETS:
        ways = {becomes(passed[0], *packet), becomes(after, *packet)}
        assert all(becomes(now, *packet) in ways for now in passed), packet


@given(st.sets(st.sampled_from(EVERYTHING)).map(lambda some: some | {LATER}), st.sampled_from([HANDED, rules("", "")]))
def test_the_node_has_its_addresses_all_the_time(there: set[Rule], wanted: tuple[Rule, ...]) -> None:
    for now in steps(wanted, there):
        assert {FIRST, LATER} & now
        assert becomes(now, "lo", 6, 80) == "node"


def test_a_table_of_ours_is_asked_by_rules_of_ours_alone() -> None:
    assert {rule.protocol for rule in HANDED if rule.table == TABLE} == {MARK}
    assert [rule for rule in HANDED if rule.table == LOCAL][-1] == LATER


@pytest.mark.parametrize(("text", "range_"), [("30000-32767", "30000:32767"), ("30080", "30080:30080"), ("", "")])
def test_a_range_is_as_people_write_it(text: str, range_: str) -> None:
    assert written(text) == range_


@pytest.mark.parametrize("text", ["32767-30000", "0-10", "1-65536", "http", "1-2-3", "-"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a range of ports|invalid literal"):
        written(text)
