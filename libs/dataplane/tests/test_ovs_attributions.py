"""What is said of the rules that log is what there is, whatever the steps; and nothing is said twice."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.contracts.audit import Attribution
from sluice.contracts.groups import Page
from sluice.contracts.ids import Revision
from sluice.contracts.l7 import HttpMatch
from sluice.contracts.programs import Action, Direction, Program, Rule
from sluice.dataplane.audit.attribution import Deciding, Ended, Isolated, What
from sluice.dataplane.ovs.cookies import CookieKind, unpack
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.ids import RuleIds
from sluice.testkit import worlds
from sluice.testkit.examples import share
from sluice.testkit.worlds import HERE, NODES, PODS, TIER_UNITS, UNITS, member, page, port, program, rule

IN, OUT = Direction.INGRESS, Direction.EGRESS
GROUP, OTHER = worlds.GROUPS[0], worlds.GROUPS[1]


def engine(*programs: Program) -> Engine:
    made = Engine(HERE, RuleIds())
    made.put_page(page(GROUP, HERE, member("x/a")))
    made.open_port(port("x/a"))
    for one in programs:
        made.put_program(one)
    return made


def caused(one: Program, sequence: int) -> Program:
    return replace(one, cause=Revision(1, sequence))


TIER = program(
    TIER_UNITS[0], GROUP, rule(0, IN, Action.DROP, logs=True), rule(1, IN, Action.ALLOW), tier=250, priority=5
)
CLOSES = program(UNITS[0], GROUP, isolates=(IN, OUT), logs_isolation=True)


def test_a_rule_that_logs_is_told_with_its_line():
    (said,) = engine(TIER).attributions()

    assert isinstance(said, Deciding)
    assert (said.table, said.rule, said.direction, said.action, said.index) == (
        *("AntreaPolicyIngressRule", "", "Ingress", "Drop", 0),
    )
    assert (said.unit, said.priority) == (TIER.unit, 43334)


def test_a_label_a_name_or_a_newer_object_is_told_though_no_flow_changes():
    made = engine(TIER)
    made.attributions()
    made.drain()
    first, second = TIER.rules

    for changed in (
        replace(TIER, rules=(replace(first, log_label="web"), second)),
        replace(TIER, rules=(replace(first, name="deny"), second)),
        caused(TIER, 7),
    ):
        made.put_program(changed)
        assert made.drain() == ({}, frozenset())
        (said,) = made.attributions()
        assert isinstance(said, Deciding)
    made.put_program(caused(TIER, 7))
    assert made.attributions() == ()


def test_a_rule_that_logs_no_more_ends():
    made = engine(TIER)
    (said,) = made.attributions()
    assert isinstance(said, Deciding)

    made.put_program(replace(TIER, rules=TIER.rules[1:]))

    assert made.attributions() == (Ended(id=said.id),)
    made.drop_program(GROUP, TIER.unit)
    assert made.attributions() == ()


def isolated(said: tuple[What, ...]) -> dict[tuple[str, str], tuple[Attribution, ...]]:
    return {(one.pod, one.direction): one.by for one in said if isinstance(one, Isolated)}


def test_whoever_isolates_a_pod_is_told():
    made = engine(CLOSES, program(TIER_UNITS[0], GROUP, tier=250, priority=5))
    one = Attribution(unit=CLOSES.unit, revision=CLOSES.cause)
    assert isolated(made.attributions()) == {("x/a", "Ingress"): (one,), ("x/a", "Egress"): (one,)}

    second = caused(program(UNITS[1], OTHER, isolates=(IN,), logs_isolation=True), 5)
    made.put_program(second)
    assert isolated(made.attributions()) == {}
    made.put_page(page(OTHER, HERE, member("x/a"), member("x/b")))
    made.put_page(page(OTHER, NODES[1], member("y/b")))
    two = Attribution(unit=second.unit, revision=second.cause)
    assert isolated(made.attributions()) == {("x/a", "Ingress"): (one, two), ("x/b", "Ingress"): (two,)}

    made.drop_program(GROUP, CLOSES.unit)
    assert isolated(made.attributions()) == {("x/a", "Ingress"): (two,), ("x/a", "Egress"): ()}
    made.drop_page(OTHER, HERE)
    assert isolated(made.attributions()) == {("x/a", "Ingress"): (), ("x/b", "Ingress"): ()}


def test_a_pod_of_the_same_name_that_comes_before_the_old_one_went_stays_isolated():
    made = engine(CLOSES)
    made.attributions()
    old, new = member("x/a"), replace(member("x/a"), uid="another")

    made.put_page(page(GROUP, HERE, old, new))
    assert isolated(made.attributions()) == {}
    made.put_page(page(GROUP, HERE, new))
    assert isolated(made.attributions()) == {}


@share(30)
@given(worlds.inputs(), worlds.inputs(), st.randoms(use_true_random=False))
def test_after_any_steps_what_was_said_is_what_there_is(old, new, random):
    ids = RuleIds()
    made = Engine(HERE, ids)
    known: dict[object, What] = {}
    pages: dict[tuple[str, str], Page] = {}
    steps = [*old.programs.items(), *old.pages.items(), *new.programs.items(), *new.pages.items()]
    random.shuffle(steps)
    for one in PODS:
        made.open_port(port(one))
    for (first, second), value in steps:
        if isinstance(value, Program):
            (made.put_program(value) if random.random() < 0.8 else made.drop_program(first, second))
        elif random.random() < 0.8:
            made.put_page(value)
            pages[first, second] = value
        else:
            made.drop_page(first, second)
            pages.pop((first, second), None)
        for what in made.attributions():
            match what:
                case Ended():
                    del known[what.id]
                case Deciding():
                    assert known.get(what.id) != what
                    known[what.id] = what
                case Isolated():
                    known.pop((what.pod, what.direction), None)
                    known |= {(what.pod, what.direction): what} if what.by else {}

    fresh = Engine(HERE, ids)
    for one in PODS:
        fresh.open_port(port(one))
    for program_ in made.programs.values():
        fresh.put_program(program_)
    for held in pages.values():
        fresh.put_page(held)
    expected = {_about(what): what for what in fresh.attributions()}
    assert known == expected
    logging = {
        cookie.number
        for body in made.flows.values()
        if any("meter_id=2" in str(action) or "resubmit" in str(action).lower() for action in body.actions)
        and (cookie := unpack(body.cookie)) is not None
        and cookie.kind in (CookieKind.RULE, CookieKind.ISOLATION)
    }
    assert logging <= known.keys()


def test_what_the_inspection_engine_judges_is_redirected_and_what_it_cannot_judge_is_dropped():
    looks = replace(rule(0, IN, Action.ALLOW, logs=True), l7=(HttpMatch(path="/public"),))
    made = engine(replace(TIER, rules=(looks,)))

    def action():
        (said,) = made.attributions()
        assert isinstance(said, Deciding)
        return said.action

    (form,) = (form for rules in made._forms.values() for form in rules.values())
    assert action() == "Drop"
    made.inspect({form.inspected_by: 7})
    assert action() == "Redirect"
    made.inspect({})
    assert action() == "Drop"


def _about(what: What) -> object:
    assert isinstance(what, Deciding | Isolated)
    return what.id if isinstance(what, Deciding) else (what.pod, what.direction)


def test_tables_have_the_names_that_people_know():
    def rules(*actions: Action) -> tuple[Rule, ...]:
        return tuple(rule(0, way, action, logs=True) for way, action in zip((IN, OUT), actions, strict=True))

    made = engine(
        program(TIER_UNITS[0], GROUP, *rules(Action.DROP, Action.PASS), tier=250),
        program(TIER_UNITS[1], GROUP, *rules(Action.DROP, Action.REJECT), tier=253),
        program(UNITS[0], GROUP, *rules(Action.ALLOW, Action.ALLOW), isolates=(IN, OUT), logs_isolation=True),
    )
    said = [one for one in made.attributions() if isinstance(one, Deciding)]

    assert sorted((one.table, one.action, one.priority is None) for one in said) == [
        ("AntreaPolicyEgressRule", "Pass", False),
        ("AntreaPolicyIngressRule", "Drop", False),
        ("EgressDefaultRule", "Drop", True),
        ("EgressDefaultRule", "Reject", False),
        ("EgressRule", "Allow", False),
        ("IngressDefaultRule", "Drop", False),
        ("IngressDefaultRule", "Drop", True),
        ("IngressRule", "Allow", False),
    ]
