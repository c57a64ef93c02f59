"""Signatures, and what the engine logs, go back to the rules whose packets they judge."""

from typing import NamedTuple

import pytest

from sluice.contracts import subjects
from sluice.contracts.ids import NEVER, Uid
from sluice.contracts.kinds import Kind
from sluice.contracts.l7 import HttpMatch
from sluice.contracts.programs import Action, Direction, Origin
from sluice.contracts.tracing import DecidingRule
from sluice.dataplane.l7.ruleset import compile_rules
from sluice.dataplane.l7.tenants import Subject, Tenants
from sluice.runtime.telling import NotOurs
from sluice.services.node_l7.explaining import Explaining

GET = compile_rules((HttpMatch(method="GET"),), policy="AntreaNetworkPolicy:x/one")
PUT = compile_rules((HttpMatch(method="PUT"),), policy="AntreaNetworkPolicy:x/one")


def subject(name: str) -> Subject:
    return Subject(subjects.unit(Kind.ANTREA_NETWORK_POLICY, "x", name), Direction.INGRESS, "rule")


ONE, TWO, THREE = map(subject, ("one", "two", "three"))


class Facts:
    """Programs of which those of some subjects are gone."""

    upto = NEVER

    def __init__(self, *gone: Subject) -> None:
        self._gone = gone

    def deciding(self, of: Subject) -> DecidingRule | None:
        if of in self._gone:
            return None
        origin = Origin(kind=Kind.ANTREA_NETWORK_POLICY, namespace="x", name=of.unit.split(":")[2], uid=Uid("u"))
        return DecidingRule(
            policy=origin, object_revision=NEVER, direction=of.direction, index=0, name=of.rule, action=Action.ALLOW
        )


def explaining() -> Explaining:
    """Tenant 1 is of two rules, tenant 2 of one that went."""
    tenants = Tenants()
    for wanted in ({ONE: GET, TWO: GET}, {ONE: GET, TWO: GET, THREE: PUT}, {ONE: GET, TWO: GET}):
        tenants.want(wanted)
        for step in tenants.steps():
            tenants.done(step)
    restored = Tenants(tenants.kept())  # whose a closed VLAN was outlives a restart
    return Explaining(Facts(THREE), restored)  # type: ignore[arg-type]  # what it asks of Asked


def event(kind: str, tenant: int, sid: int | None = None) -> str:
    alert = f',"alert":{{"signature_id":{sid}}}' if sid else ""
    return f'{{"event_type":"{kind}","vlan":[{tenant},77],"tenant_id":{tenant}{alert}}}'


class Row(NamedTuple):
    name: str
    text: str
    kind: str
    policies: list[str]


ROWS = [
    Row("by tenant and sid", "1/1", "reject", ["one", "two"]),
    Row("in words", "vlan 1 sid 960001", "drop", ["one", "two"]),
    Row("the rule itself", GET.rules.splitlines()[0], "note", ["one", "two"]),
    Row("a request that passed", event("http", 1), "tenant", ["one", "two"]),
    Row("one that was denied", event("alert", 1, 1), "tenant", ["one", "two"]),
    Row("one of a rule that is gone", event("http", 2), "tenant", ["three"]),
    Row("a closed tenant", "2/1", "reject", []),
    Row("all other VLANs", "4095/1", "reject", []),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_whose_it_is(row: Row) -> None:
    found = await explaining().meaning(row.text)

    assert (found.kind, [rule.policy.name for rule in found.rules]) == (row.kind, row.policies)
    assert found.says
    assert found.does


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("9/1", "the engine has no such signature"),
        ("hello", "is not a signature"),
        ('{"event_type":"http"}', "its tenant is unknown"),
        ('{"vlan":', "not an event of eve.json"),
    ],
)
async def test_what_is_none_of_ours_is_refused(text: str, why: str) -> None:
    with pytest.raises(NotOurs, match=why):
        await explaining().meaning(text)


async def test_all_are_listed_page_after_page() -> None:
    whole = await explaining().page("", 1_000)
    lines: list[str] = []
    after = ""
    while True:
        page = await explaining().page(after, 3)
        lines += [one.line for one in page.items]
        assert len(page.items) <= 3
        after = page.more
        if not after:
            break

    assert lines == [one.line for one in whole.items]
    assert all(one.line.endswith(")") for one in whole.items)
    assert {one.table for one in whole.items} == {"tenant 1", "tenant 2", "tenant 4095"}
