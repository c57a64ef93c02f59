"""Law 4: a plan closes the gap, and leaves to others what is theirs."""

from hypothesis import given
from hypothesis import strategies as st

from sluice.dataplane.ovs.base import BASE
from sluice.dataplane.ovs.fields import Field
from sluice.dataplane.ovs.flow import FlowBody, FlowKey, Flows, Output, match
from sluice.dataplane.ovs.ids import RuleIds
from sluice.dataplane.ovs.lower import Inputs, lower
from sluice.dataplane.ovs.plan import applied, plan
from sluice.testkit import worlds
from sluice.testkit.examples import share

FOREIGN: Flows = {
    FlowKey(200, 1, ()): FlowBody((), 0),
    FlowKey(0, 5, match((Field.IN_PORT, 99))): FlowBody((Output(1),), 0xDEADBEEF00000000),
}


@share(50)
@given(worlds.inputs(), worlds.inputs(), st.booleans())
def test_applying_a_plan_leaves_what_is_desired_and_the_second_plan_is_empty(old: Inputs, new: Inputs, empty: bool):
    ids = RuleIds()
    actual = FOREIGN | ({} if empty else lower(old, ids))
    desired = lower(new, ids)

    change = plan(desired, actual)
    after = applied(actual, change)

    assert after == FOREIGN | desired
    assert plan(desired, after).empty
    assert not change.put.keys() & set(change.delete)
    assert all(actual.get(key) != body for key, body in change.put.items())


def test_a_foreign_flow_in_our_place_is_replaced():
    key = next(iter(BASE))
    actual = BASE | {key: FlowBody((Output(7),), 0)}

    assert plan(BASE, actual).put == {key: BASE[key]}


def test_a_flow_with_another_cookie_or_other_actions_is_put_again():
    key, body = next(iter(BASE.items()))

    assert plan(BASE, BASE | {key: body._replace(cookie=body.cookie + 1)}).put == {key: body}
    assert plan(BASE, BASE | {key: body._replace(actions=(Output(7),))}).put == {key: body}


def test_an_empty_switch_gets_everything():
    assert plan(BASE, {}) == (BASE, ())
