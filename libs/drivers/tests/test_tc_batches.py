"""What of a plan is sent at once: only what no packet meets yet."""

from sluice.dataplane.protocols import EthType
from sluice.dataplane.tc.filter import Drop, FilterBody, FilterKey, Goto, Hook
from sluice.dataplane.tc.operations import AddFilter, DeleteChain, DeleteFilter, Operation, ReplaceFilter, Settle
from sluice.dataplane.tc.owner import ROOT_PREF, chain
from sluice.drivers.tc.hooks import BATCH, Placed, batches
from sluice.drivers.tc.messages import hook

IN, OUT = hook(5, Hook.INGRESS), hook(5, Hook.EGRESS)
ROOT = FilterKey(0, ROOT_PREF, EthType.ALL)
LEADS = FilterBody((Goto(chain(0, 0)),), bytes(16))


def add(handle: int) -> AddFilter:
    return AddFilter(FilterKey(chain(0, 1), handle, EthType.ALL), handle, FilterBody((Drop(),), bytes(16)))


def sizes(*plan: Placed) -> list[int]:
    return [len(batch) for batch in batches(plan)]


def at_in(*operations: Operation) -> list[Placed]:
    return [Placed(IN, one) for one in operations]


def test_what_a_root_is_still_to_lead_to_goes_together_and_the_root_alone() -> None:
    adds = [add(handle) for handle in range(1, BATCH + 3)]

    assert sizes(*at_in(*adds, AddFilter(ROOT, 1, LEADS))) == [BATCH, 2, 1]


def test_what_packets_meet_goes_alone() -> None:
    assert sizes(*at_in(add(1), add(2), add(3))) == [1, 1, 1]


def test_what_follows_the_root_goes_alone() -> None:
    plan = at_in(add(1), add(2), ReplaceFilter(ROOT, 1, LEADS), add(3), add(4), Settle(), DeleteChain(chain(1, 0)))

    assert sizes(*plan) == [2, 1, 1, 1, 1, 1]


def test_another_hooks_root_leads_nowhere_here() -> None:
    plan = [*at_in(add(1), add(2)), Placed(OUT, ReplaceFilter(ROOT, 1, LEADS))]

    assert sizes(*plan) == [1, 1, 1]


def test_order_is_kept() -> None:
    plan = at_in(add(1), DeleteFilter(ROOT, 1), add(2), add(3), AddFilter(ROOT, 1, LEADS))

    assert [one for batch in batches(plan) for one in batch] == plan
