"""Which rule set has which VLAN, and what the engine is told."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts.ids import Unit
from sluice.contracts.programs import Direction
from sluice.dataplane.l7.engine import LAST_VLAN
from sluice.dataplane.l7.ruleset import CLOSED, RuleSet
from sluice.dataplane.l7.tenants import Load, Replace, Step, Subject, Tenants


def rules(text: str) -> RuleSet:
    return RuleSet(rules=text)


def subject(name: str) -> Subject:
    return Subject(Unit("annps.x.p"), Direction.INGRESS, name)


A, B, C = (subject(name) for name in "abc")
ONE, TWO, THREE = (rules(name) for name in ("one", "two", "three"))


def settle(tenants: Tenants, refuse: Iterable[RuleSet] = ()) -> list[Step]:
    """Do all steps; the engine never says no but to these."""
    made: list[Step] = []
    for step in tenants.steps():
        made.append(step)
        if step.rules in refuse:
            tenants.refused(step, "refused")
        else:
            tenants.done(step)
    assert tenants.steps() == ()
    for vlan in tenants.unverified():
        tenants.shown(vlan)
    return made


def test_each_rule_set_has_a_vlan_of_its_own() -> None:
    tenants = Tenants()
    tenants.want({A: ONE, B: TWO})

    assert settle(tenants) == [Load(1, ONE), Load(2, TWO)]
    assert tenants.verified == {ONE.digest: 1, TWO.digest: 2}


def test_equal_rule_sets_share_one() -> None:
    tenants = Tenants()
    tenants.want({A: ONE, B: ONE})

    assert settle(tenants) == [Load(1, ONE)]


def test_a_subject_keeps_its_vlan_when_its_rules_change() -> None:
    tenants = Tenants()
    tenants.want({A: ONE})
    settle(tenants)
    tenants.want({A: TWO})

    assert tenants.verified == {ONE.digest: 1}  # until the engine has the new ones
    assert settle(tenants) == [Replace(1, TWO)]
    assert tenants.verified == {TWO.digest: 1}


def test_who_shared_and_no_longer_does_gets_another() -> None:
    tenants = Tenants()
    tenants.want({A: ONE, B: ONE})
    settle(tenants)
    tenants.want({A: ONE, B: TWO})

    assert settle(tenants) == [Load(2, TWO)]
    assert tenants.verified == {ONE.digest: 1, TWO.digest: 2}


def test_what_nobody_uses_is_closed_and_used_again_last() -> None:
    tenants = Tenants()
    tenants.want({A: ONE})
    settle(tenants)
    tenants.want({})

    assert tenants.deserted == (1,)  # at once, whatever the engine still holds
    assert settle(tenants) == [Replace(1, CLOSED)]
    assert tenants.verified == {}
    tenants.want({B: TWO})
    assert settle(tenants) == [Load(2, TWO)]
    assert Tenants(tenants.kept()).deserted == tenants.deserted == (1,)


def test_a_vlan_is_given_out_again_when_there_is_no_other() -> None:
    tenants = Tenants()
    many = {subject(f"{number:04}"): rules(str(number)) for number in range(LAST_VLAN + 1)}
    tenants.want(many)
    settle(tenants)
    ((homeless, reason),) = tenants.problems.items()

    assert homeless == max(many)
    assert str(LAST_VLAN) in reason
    del many[subject("0007")]
    tenants.want(many)
    assert tenants.deserted == ()  # whoever has the VLAN now, its connections are judged
    assert settle(tenants) == [Replace(8, rules(str(LAST_VLAN)))]
    assert tenants.problems == {}


def test_rules_that_the_engine_refuses_leave_what_was() -> None:
    tenants = Tenants()
    tenants.want({A: ONE})
    settle(tenants)
    tenants.want({A: TWO})

    assert settle(tenants, refuse=[TWO]) == [Replace(1, TWO)]
    assert tenants.verified == {ONE.digest: 1}
    assert tenants.problems == {A: "refused"}
    tenants.want({A: THREE})
    assert settle(tenants) == [Replace(1, THREE)]
    assert tenants.problems == {}


def test_nothing_is_verified_after_the_engine_ended() -> None:
    tenants = Tenants()
    tenants.want({A: ONE, B: TWO})
    settle(tenants)
    tenants.engine_ended()

    assert tenants.verified == {}
    assert tenants.waiting == {A, B}
    assert settle(tenants) == []  # the next engine starts with them
    assert tenants.verified == {ONE.digest: 1, TWO.digest: 2}


def test_a_vlan_means_the_same_after_a_restart() -> None:
    before = Tenants()
    before.want({A: ONE, B: TWO})
    settle(before)
    before.want({B: TWO, C: THREE})
    settle(before)
    after = Tenants(before.kept())
    assert settle(after) == []  # before it is told what is wanted
    assert after.verified == before.verified
    after.want({B: TWO, C: THREE})

    assert settle(after) == []
    assert after.verified == before.verified
    assert after.kept() == before.kept()


wishes = st.dictionaries(st.sampled_from([A, B, C]), st.sampled_from([ONE, TWO, THREE]))


@given(st.lists(wishes, max_size=12))
def test_whatever_is_wanted_each_subject_has_its_rules_and_no_vlan_two(history: list[dict[Subject, RuleSet]]) -> None:
    tenants = Tenants()
    for wanted in history:
        tenants.want(wanted)
        settle(tenants)

        assert set(tenants.verified) == {one.digest for one in wanted.values()}
        assert len(set(tenants.verified.values())) == len(tenants.verified)
        assert tenants.waiting == frozenset()
