"""Which packets make which lines, and who decided them."""

from typing import NamedTuple

import pytest
from msgspec.structs import replace

from sluice.contracts.audit import Attribution, FlowDecision
from sluice.contracts.ids import Revision, Unit
from sluice.dataplane.audit import attribution, np_line
from sluice.dataplane.audit.attribution import Begun, Decided, Deciding, Ended, Entry, Isolated, What
from sluice.dataplane.audit.book import Book
from sluice.dataplane.audit.history import History
from sluice.dataplane.audit.seeing import WINDOW_US, Duplicates, Repeated, Seen, decision, is_repeatable

RULE = Deciding(
    id=4,
    table="AntreaPolicyIngressRule",
    policy="AntreaNetworkPolicy:x/p",
    rule="deny",
    direction="Ingress",
    action="Drop",
    priority=14500,
    label="web",
    unit=Unit("annps:x:p"),
    index=0,
    revision=Revision(1, 7),
)
ISOLATES = Deciding(
    id=5,
    table="IngressDefaultRule",
    policy="K8sNetworkPolicy",
    direction="Ingress",
    action="Drop",
    unit=Unit("k8snetworkpolicies:x:p"),
    revision=Revision(1, 8),
)
V4, V6 = (bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))), (b"\xfd" + bytes(14) + b"\1", b"\xfd" + bytes(14) + b"\2")


def seen(proto: int = 6, ports: tuple[int, int] | None = (4000, 80), length: int = 60, **more: bytes) -> Seen:
    return Seen(4, "x/a", more.get("source", V4[0]), more.get("target", V4[1]), proto, ports, length)


SECOND_0 = 1_700_000_000_000_000
MOMENT = "2023/11/14 22:13:20.000000"
BEFORE = f"{MOMENT} AntreaPolicyIngressRule AntreaNetworkPolicy:x/p deny Ingress"
LINES = {
    "one": (
        Repeated(seen(), RULE, SECOND_0, SECOND_0, 1),
        f"{BEFORE} Drop 14500 x/a 10.0.0.1 4000 10.0.0.2 80 TCP 60 web",
    ),
    "many": (
        Repeated(seen(17), RULE, SECOND_0, SECOND_0 + 250_000, 3),
        f"{BEFORE} Drop 14500 x/a 10.0.0.1 4000 10.0.0.2 80 UDP 60 web [3 packets in 250ms]",
    ),
    "without ports": (
        Repeated(seen(1, None, 84), RULE, SECOND_0, SECOND_0, 1),
        f"{BEFORE} Drop 14500 x/a 10.0.0.1 <nil> 10.0.0.2 <nil> ICMP 84 web",
    ),
    "IPv6": (
        Repeated(seen(58, None, source=V6[0], target=V6[1]), RULE, SECOND_0, SECOND_0, 1),
        f"{BEFORE} Drop 14500 x/a fd00::1 <nil> fd00::2 <nil> IPv6-ICMP 60 web",
    ),
    "a protocol without a name": (
        Repeated(seen(47, None), RULE, SECOND_0, SECOND_0, 1),
        f"{BEFORE} Drop 14500 x/a 10.0.0.1 <nil> 10.0.0.2 <nil> 47 60 web",
    ),
    "isolated": (
        Repeated(seen(1, None, 84), ISOLATES, SECOND_0, SECOND_0, 1),
        (
            f"{MOMENT} IngressDefaultRule K8sNetworkPolicy <nil> Ingress Drop <nil> x/a 10.0.0.1 <nil> "
            "10.0.0.2 <nil> ICMP 84 <nil>"
        ),
    ),
    "no Pod, a name that would be two fields": (
        Repeated(
            seen()._replace(applied_to=""), replace(RULE, rule="a b\n%", action="Redirect"), SECOND_0, SECOND_0, 1
        ),
        (
            f"{MOMENT} AntreaPolicyIngressRule AntreaNetworkPolicy:x/p a%20b%0A%25 Ingress Redirect 14500 "
            "<nil> 10.0.0.1 4000 10.0.0.2 80 TCP 60 web"
        ),
    ),
}


@pytest.mark.parametrize("name", LINES)
def test_a_line(name: str) -> None:
    repeated, line = LINES[name]

    assert np_line.write(decision(repeated)) == line
    read = np_line.read(line)
    assert isinstance(read, FlowDecision)
    assert replace(read, unit=None) == decision(repeated)


def test_denials_that_look_alike_within_a_second_are_one_line() -> None:
    held = Duplicates()
    other = seen(length=61)

    for at_us in (10, 20, 500_000):
        held.take(seen(), RULE, at_us)
    held.take(other, RULE, 30)
    held.take(seen(), replace(RULE, label="later"), 900_000)

    assert (len(held), list(held.due(WINDOW_US + 9))) == (5, [])
    assert list(held.due(WINDOW_US + 10)) == [Repeated(seen(), RULE, 10, 900_000, 4)]
    held.take(seen(), RULE, WINDOW_US + 11)
    assert list(held.rest()) == [
        Repeated(other, RULE, 30, 30, 1),
        Repeated(seen(), RULE, WINDOW_US + 11, WINDOW_US + 11, 1),
    ]
    assert len(held) == 0


def test_what_is_let_in_is_not_held_back() -> None:
    actions = ("Allow", "Pass", "Redirect", "Drop", "Reject")

    assert [is_repeatable(replace(RULE, action=action)) for action in actions] == [False, True, False, True, True]


def line(rule: Deciding, at_us: int) -> FlowDecision:
    return decision(Repeated(seen(), rule, at_us, at_us, 1))


def by(rule: Deciding) -> Attribution:
    return Attribution(unit=rule.unit, index=rule.index, revision=rule.revision)


SECOND = replace(RULE, id=6, index=1, revision=Revision(1, 9))
NEWER = replace(RULE, revision=Revision(1, 20))
MOVED = replace(RULE, priority=15000)
TWO = (Attribution(unit=Unit("k8snetworkpolicies:x:a"), revision=Revision(1, 2)), by(ISOLATES))


class Case(NamedTuple):
    name: str
    said: list[tuple[int, What]]
    line: FlowDecision
    by: tuple[Attribution, ...]


CASES = [
    Case("nothing said", [], line(RULE, 5), ()),
    Case("a rule", [(1, RULE)], line(RULE, 5), (by(RULE),)),
    Case("before it", [(6, RULE)], line(RULE, 5), ()),
    Case("the object of then, not the later one", [(1, RULE), (9, NEWER)], line(RULE, 5), (by(RULE),)),
    Case("the later one", [(1, RULE), (9, NEWER)], line(RULE, 9), (by(NEWER),)),
    Case("another priority", [(1, RULE), (4, MOVED)], line(MOVED, 5), (by(MOVED),)),
    Case("on its way when it ended", [(1, RULE), (4, Ended(id=4))], line(RULE, 5), (by(RULE),)),
    Case("a programmer began anew", [(1, RULE), (4, Begun()), (4, NEWER)], line(RULE, 5), (by(NEWER),)),
    Case("two that look alike", [(1, RULE), (1, SECOND)], line(RULE, 5), (by(RULE), by(SECOND))),
    Case("two, and it is said which", [(1, RULE), (1, SECOND), (5, Decided(id=6))], line(RULE, 5), (by(SECOND),)),
    Case("isolated", [(1, Isolated(pod="x/a", direction="Ingress", by=TWO))], line(ISOLATES, 5), TWO),
    Case("the other direction", [(1, Isolated(pod="x/a", direction="Egress", by=TWO))], line(ISOLATES, 5), ()),
    Case(
        "isolated by fewer since",
        [
            (1, Isolated(pod="x/a", direction="Ingress", by=TWO)),
            (5, Isolated(pod="x/a", direction="Ingress", by=TWO[1:])),
        ],
        line(ISOLATES, 5),
        TWO[1:],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_who_decided(case: Case) -> None:
    history = History()
    for at_us, what in case.said:
        history.take(attribution.read(attribution.write(Entry(at_us=at_us, what=what))))

    assert history.by(case.line) == case.by


def test_what_no_line_asks_for_any_more_is_forgotten() -> None:
    history = History()
    for at_us in range(1_000):
        history.take(Entry(at_us=at_us, what=replace(RULE, revision=Revision(1, at_us))))
        history.take(Entry(at_us=at_us, what=Decided(id=4)))
        history.take(Entry(at_us=at_us, what=Isolated(pod="x/a", direction="Ingress", by=TWO[at_us % 2 :])))
    history.forget_before(990)

    assert len(history) < 40
    assert [one.revision for one in history.by(line(RULE, 995))] == [Revision(1, 995)]
    assert history.by(line(ISOLATES, 995)) == TWO[1:]


def test_lines_that_look_alike_are_told_apart_only_where_they_mean_different_things() -> None:
    book = Book()
    book.take(RULE)
    elsewhere = replace(RULE, id=9)
    book.take(elsewhere)  # the same rule, applied to another group
    assert not book.is_ambiguous(RULE)

    book.take(SECOND)
    assert book.is_ambiguous(RULE)
    assert (book.rule(6), book.rule(77)) == (SECOND, None)

    book.take(Ended(id=6))
    assert not book.is_ambiguous(RULE)
    assert book.rule(6) == SECOND  # packets of it may be on their way
    assert list(book.whole()) == [Begun(), RULE, elsewhere]
