"""What others change, as events."""

from sluice.drivers.tc.events import Event, FiltersChanged, LinksChanged, Missed


def test_events_of_one_interface_are_told_apart_in_a_set() -> None:
    events: set[Event] = {LinksChanged(7), FiltersChanged(7), LinksChanged(8), Missed(), FiltersChanged(7)}

    assert len(events) == 4
