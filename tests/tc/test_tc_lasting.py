"""What happens while things go on: open connections, changes, restarts of the programmer, other people's filters."""

from typing import NamedTuple

import pytest
from tests.tc import lent, plays, road
from tests.tc.lent import Lent
from tests.tc.network import Probe
from tests.tc.plays import Drift, Policies, Restarted
from tests.tc.road import Travelled
from tests.tc.scene import PODS, Cell

from sluice.dataplane.tc.content import Options
from sluice.lab.guest.guest import Guest
from sluice.testkit import builders

pytestmark = [pytest.mark.guest, pytest.mark.once, pytest.mark.timeout(300)]

A, B, C = ({"podSelector": {"matchLabels": {"app": app}}} for app in "abc")
TO_A: Cell = ("x/b", "x/a", "TCP", 80, 4)
FROM_A: Cell = ("x/a", "x/b", "TCP", 80, 6)
FROM_C: Cell = ("x/c", "x/a", "TCP", 80, 4)


def ingress(*peers: object, name: str = "in") -> Policies:
    return (builders.multi(f"x/{name}", {**A, "ingress": [{"from": list(peers)}] if peers else []}),)


def egress(*peers: object) -> Policies:
    rules = [{"to": list(peers)}] if peers else []
    return (builders.multi("x/out", {**A, "policyTypes": ["Egress"], "egress": rules}),)


class Update(NamedTuple):
    name: str
    before: Policies
    after: Policies
    cell: Cell
    expected: tuple[bool, bool, bool]
    """The connection lives; it lives when the grace is over; a new one comes about."""


UPDATES = [
    Update("more is allowed", ingress(B), ingress(B, C), TO_A, (True, True, True)),
    Update("the rule that allowed it goes", ingress(B), ingress(C), TO_A, (False, False, False)),
    Update("policy comes and denies it", (), ingress(C), TO_A, (False, False, False)),
    Update("policy comes and allows it", (), ingress(B), TO_A, (True, True, True)),
    Update("policy goes", ingress(B), (), TO_A, (True, True, True)),
    Update("the other direction is closed", ingress(B), (*ingress(B), *egress()), TO_A, (True, True, True)),
    Update("who began it may not any more", egress(B), egress(C), FROM_A, (False, False, False)),
    Update("who began it still may", egress(B), egress(B, C), FROM_A, (True, True, True)),
]


@pytest.mark.parametrize("update", UPDATES, ids=lambda update: update.name)
def test_an_open_connection_is_asked_again(update: Update, whole: Guest) -> None:
    assert whole.call(plays.across, update.before, update.after, update.cell, True) == update.expected


class Leaving(NamedTuple):
    name: str
    policies: Policies
    pod: str
    cell: Cell
    lives: bool


LEAVES = [
    Leaving("who leaves has no connections any more", ingress(B), "x/b", TO_A, False),
    Leaving("nor have those that led to it", egress(B), "x/b", FROM_A, False),
    Leaving("others keep theirs", ingress(B, C), "x/c", TO_A, True),
]


@pytest.mark.parametrize("case", LEAVES, ids=lambda case: case.name)
def test_connections_of_an_address_that_is_closed_end(case: Leaving, whole: Guest) -> None:
    found = whole.call(plays.leaves, case.policies, case.pod, case.cell, True)

    assert found == (True, case.lives, case.lives)


@pytest.mark.parametrize("policies", [(ingress(B), ingress(B, C, name="other")), (egress(B), (*egress(B), *ingress()))])
def test_nothing_opens_and_nothing_blinks(policies: tuple[Policies, Policies], quick: Guest) -> None:
    one, other = policies
    outwards = one[0].metadata.name == "out"
    allowed = Probe("a", PODS["x/b"][0], "TCP", 80) if outwards else Probe("b", PODS["x/a"][0], "TCP", 80)
    denied = Probe("a", PODS["y/d"][0], "UDP", 80) if outwards else Probe("d", PODS["x/a"][0], "UDP", 80)

    found = quick.call(plays.blink, one, other, allowed, denied, False)

    assert found.asked > 0
    assert (found.lost, found.leaked) == (0, 0), found


def test_a_restart_of_the_programmer_changes_nothing(whole: Guest) -> None:
    found = whole.call(plays.restart, ingress(B), TO_A, True)

    assert found == Restarted(unchanged=True, lives=True, repairs=0, zones_kept=True)


def test_a_programmer_without_memory_sweeps_its_own(quick: Guest) -> None:
    assert quick.call(plays.sweep, (*ingress(B), *egress()), False) == (True, False)


def test_other_peoples_filters_stay_and_are_obeyed(quick: Guest) -> None:
    found = quick.call(plays.foreign, ingress(B), False)

    assert len(found.before) == 2
    assert found.before == found.during == found.after == found.unpoliced
    assert found.obeyed


def test_what_others_do_to_ours_is_put_right(quick: Guest) -> None:
    assert quick.call(plays.drift, ingress(B), FROM_C, False) == Drift(
        open_meanwhile=True, closed_again=True, repairs=1, strangers_left=0
    )


def test_hooks_that_were_taken_away_are_made_anew(quick: Guest) -> None:
    at_once, after = quick.call(plays.closed_hooks, ingress(B), False)

    assert at_once == 0
    assert after > 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (Options(), (False, False)),
        (Options(accept_icmp=True), (True, False)),
        (Options(accept_icmpv6=True), (False, True)),
    ],
)
def test_icmp_passes_where_the_node_lets_it(options: Options, expected: tuple[bool, bool], quick: Guest) -> None:
    assert tuple(quick.call(plays.ping, ingress(C), options, False).values()) == expected


def test_people_can_read_and_run_a_pods_rules(whole: Guest) -> None:
    files, gone = whole.call(plays.rules, (*ingress(B), *egress(C)), True)

    assert list(files) == ["x-net-rep-a.rules"]
    assert files["x-net-rep-a.rules"].startswith("qdisc: clsact\nfilters:\ningress protocol all pref 19968 flower")
    assert gone


def test_a_virtual_function_that_nobody_has_is_closed_until_its_next_pod_is_known(whole: Guest) -> None:
    found = whole.call(lent.lend, ingress(B), True)

    assert found == Lent(
        not_told=(True, True),
        nobodys=(False, False),
        asked_for=(False, False),
        policed=(True, False),
        freed=(False, False),
        after_restart=(False, False),
        unpoliced=(True, True),
    )


def test_the_whole_road(quick: Guest) -> None:
    """Objects on the bus become packets dropped; drift is put right; node-tc goes and comes back; the policy goes."""
    assert quick.call(road.travel, ingress(B)[0], FROM_C, TO_A) == Travelled(
        denied=False,
        allowed=True,
        policed=("x/a",),
        repairs=1,
        denied_again=False,
        kept=True,
        denied_after_restart=False,
        open_at_last=True,
        left=0,
        unexplained=(),
        listed=True,
    )
