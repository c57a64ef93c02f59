"""What is said and done for Pods that come while the bus is away."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sluice.services.node_ovs.away import Away
from sluice.services.node_ovs.settings import NodeOvsSettings


class Surroundings:
    """A bus, a feed and a programmer, as far as they are asked."""

    def __init__(self, **settings: Any) -> None:  # Any: settings of a row
        self.bus = SimpleNamespace(connected=asyncio.Event())
        self.feed = SimpleNamespace(sound=True)
        self.opened: list[bool] = []
        self.programmer = SimpleNamespace(waiting_ports=("x/new",), open_unknown=lambda *, so: self.opened.append(so))
        own = NodeOvsSettings(node_name="n", nats_url="nats://key:word@192.0.2.1:4222", **settings)
        bus, feed, programmer = (
            cast("Any", one) for one in (self.bus, self.feed, self.programmer)
        )  # Any: no real ones
        self.away = Away(own, bus, feed, programmer, lambda: None)
        self.bus.connected.set()

    def lose(self) -> None:
        self.bus.connected.clear()
        self.feed.sound = False


@pytest.mark.parametrize("mode", ["closed", "open"])
async def test_who_waits_and_why_is_said_while_the_bus_is_away(mode):
    around = Surroundings(without_bus=mode)
    around.away._look(0)
    assert not around.away.waiting

    around.lose()
    around.away._look(1)
    assert list(around.away.waiting) == [
        "x/new is closed, because its policies are unknown: the bus 192.0.2.1:4222 cannot be reached"
    ]


async def test_new_pods_are_opened_late_and_only_if_the_operator_wants_it():
    around, strict = Surroundings(without_bus="open", without_bus_after_s=30), Surroundings()
    for one in (around, strict):
        one.lose()
        for at_s in (1, 30, 31, 40):
            one.away._look(at_s)
        assert one.opened == ([True] if one is around else [])

    around.bus.connected.set()
    around.away._look(50)  # it is there, but not all that was missed is read yet
    assert around.opened == [True]
    around.feed.sound = True
    around.away._look(51)
    assert around.opened == [True, False]


async def test_a_restart_of_the_server_opens_nothing():
    around = Surroundings(without_bus="open", without_bus_after_s=30)
    for at_s in range(0, 100, 25):
        around.lose()
        around.away._look(at_s)
        around.bus.connected.set()
        around.feed.sound = True
        around.away._look(at_s + 20)
    assert around.opened == []
