"""What there is to warn of: when somebody looks, and that nothing waits for the work beside the event loop."""

import asyncio
import threading
from contextlib import aclosing

import pytest

from sluice.contracts import subjects
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import Listed
from sluice.policy.realisation.warnings import warnings
from sluice.runtime import linting
from sluice.runtime.linting import beside, warned
from sluice.runtime.output import Output
from sluice.testkit.builders import acnp, namespace, pod

PATIENCE_S = 30
DROP = {"action": "Drop", "name": "no"}
SPEC = {"priority": 5, "appliedTo": [{"podSelector": {}}], "ingress": [DROP, DROP]}


async def test_its_result_comes_and_the_loop_goes_on():
    released = threading.Event()
    working = asyncio.create_task(beside(lambda: released.wait(30)))
    await asyncio.sleep(0.01)
    released.set()  # by the loop, which therefore was not held up

    assert await working is True


async def test_its_error_is_raised():
    with pytest.raises(ZeroDivisionError):
        await beside(lambda: 1 // 0)


def test_who_stops_does_not_wait_for_it():
    released, ended = threading.Event(), threading.Event()

    def work() -> None:
        released.wait(PATIENCE_S)
        ended.set()

    async def stopped() -> None:
        working = asyncio.create_task(beside(work))
        await asyncio.sleep(0.05)
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)

    asyncio.run(stopped())

    assert not ended.is_set()
    released.set()


async def test_an_end_that_nobody_waits_for_is_let_go():
    released = threading.Event()
    working = asyncio.create_task(beside(lambda: released.wait(30)))
    await asyncio.sleep(0.01)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    released.set()

    await asyncio.sleep(0.05)  # an error in the loop's callback would fail the test as an unhandled one


async def test_one_looks_when_all_is_known_and_again_when_it_changed(bus, reader, monkeypatch):
    looks = []

    def broken_once(events, most_rules):
        looks.append(len(events))
        if len(looks) == 2:
            raise ZeroDivisionError
        return real(events, most_rules)

    real = warnings
    monkeypatch.setattr(linting, "warnings", broken_once)
    async with (
        await Output.open(bus, "LEDGER", ["objects.>"]) as ledger,
        aclosing(warned(reader, 0.05, 100)) as tellings,
        asyncio.timeout(PATIENCE_S),
    ):
        for obj, key in (
            (namespace("x"), (Kind.NAMESPACE, "", "x")),
            (pod("x/a", ip="10.0.0.1"), (Kind.POD, "x", "a")),
            (acnp("p", SPEC), (Kind.CLUSTER_NETWORK_POLICY, "", "p")),
        ):
            ledger.put(subjects.object_(*key), obj)
        await ledger.settled()
        first = asyncio.ensure_future(anext(tellings))
        await asyncio.sleep(0.3)
        assert not first.done()  # not told is not gone

        for kind in Kind:
            ledger.mark(subjects.listed(kind), Listed(kind=kind, source="test"))
        found = await first
        assert [one.reason for one in found.values()] == ["NeverMatches"]

        second = asyncio.ensure_future(anext(tellings))
        await asyncio.sleep(0.3)
        assert looks == [3]  # nothing changed
        ledger.put(subjects.object_(Kind.NAMESPACE, "", "y"), namespace("y"))
        while len(looks) < 2:  # noqa: ASYNC110  # the look that fails tells nobody
            await asyncio.sleep(0.01)
        assert not second.done()  # our error; what was said before stays
        ledger.remove(subjects.object_(Kind.CLUSTER_NETWORK_POLICY, "", "p"))
        assert await second == {}
