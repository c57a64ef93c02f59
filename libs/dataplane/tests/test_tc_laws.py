"""The laws of the engine and its plans: incremental equals recomputed, plans close the gap, nothing opens or blinks."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from sluice.dataplane.protocols import EthType
from sluice.dataplane.tc.content import EVERYTHING_OPEN, Content, Mode, Numbers
from sluice.dataplane.tc.engine import Engine, InterfaceKey
from sluice.dataplane.tc.filter import FilterBody, FilterKey, Hook
from sluice.dataplane.tc.lower import GRACE_PREFS, lower
from sluice.dataplane.tc.mirror import Mirror
from sluice.dataplane.tc.owner import Place, is_our_chain, is_ours, place_of
from sluice.dataplane.tc.plan import Step, patch, plan, retire
from sluice.grouping.events import ObjectEvent
from sluice.testkit import secondary
from sluice.testkit.examples import share
from sluice.testkit.fed import Told
from sluice.testkit.tc_node import HERE, frame
from sluice.testkit.tc_walker import Device, Frame, Tracker

ZONE = 7


class Planned(Told[Engine]):
    """A node that hears of each event, and whose plans are made when it is told to."""

    def __init__(self) -> None:
        super().__init__(Engine(HERE))
        self.mirrors: dict[InterfaceKey, dict[Hook, Mirror]] = {}

    def plans(self) -> Iterator[tuple[InterfaceKey, Mapping[Hook, Content], list[Step]]]:
        """What follows for each interface that changed."""
        for key, change in self.engine.drain().items():
            contents = self.engine.contents(key)
            mirrors = self.mirrors.setdefault(key, {hook: Mirror() for hook in Hook})
            steps: list[Step] | None = []
            for hook, addresses in change.addresses.items():
                made = patch(contents[hook], addresses, mirrors[hook], hook)
                steps = None if steps is None or made is None else [*steps, *(Step(hook, one) for one in made)]
            yield key, contents, plan(contents, mirrors, ZONE) if change.whole or steps is None else steps

    def make(self, key: InterfaceKey, steps: list[Step]) -> None:
        for hook, operation in steps:
            self.mirrors[key][hook].apply((operation,))


def from_scratch(events: list[ObjectEvent]) -> Planned:
    made = Planned()
    for event in {event.key: event for event in events}.values():
        made.hear(event)
    return made


@share(30)
@given(secondary.busy_stories())
def test_incremental_equals_recomputed_after_every_step(events: list[ObjectEvent]):
    told = Planned()
    for number, event in enumerate(events, start=1):
        told.hear(event)
        again = from_scratch(events[:number]).engine
        assert told.engine.interfaces == again.interfaces
        for key in again.interfaces:
            now, then = told.engine.contents(key), again.contents(key)
            assert {hook: one._replace(addresses=dict(one.addresses)) for hook, one in now.items()} == {
                hook: one._replace(addresses=dict(one.addresses)) for hook, one in then.items()
            }
        assert told.engine.problems() == again.problems()


@share(30)
@given(secondary.busy_stories())
def test_plans_and_patches_close_the_gap(events: list[ObjectEvent]):
    told = Planned()
    for event in events:
        told.hear(event)
        for key, contents, steps in told.plans():
            told.make(key, steps)
            mirrors = told.mirrors[key]
            assert plan(contents, mirrors, ZONE) == []
            for hook, mirror in mirrors.items():
                assert_holds(contents[hook], mirror, hook)


def assert_holds(content: Content, mirror: Mirror, hook: Hook) -> None:
    """The hook holds what `lower` says, but perhaps for replies of the epoch before."""
    held = {key: one.body for key, one in mirror.filters.items()}
    assert all(is_ours(key) for key in held)
    if content.mode is Mode.OPEN:
        assert held == {}
        return
    assert mirror.generation is not None
    numbers = Numbers(ZONE, mirror.epoch or 1)
    assert without_grace(held) == without_grace(lower(content, hook, numbers, mirror.generation))
    handles = [(key.chain, key.pref, one.handle) for key, one in mirror.filters.items()]
    assert len(handles) == len(set(handles))


def without_grace(filters: Mapping[FilterKey, FilterBody]) -> dict[FilterKey, FilterBody]:
    return {
        key: body
        for key, body in filters.items()
        if not (is_our_chain(key.chain) and place_of(key.chain) == Place.CLASSES and key.pref in GRACE_PREFS)
    }


def frames() -> list[tuple[bool, Frame]]:
    """First packets, out of and into an interface."""
    found = [(True, Frame(EthType.ARP)), (False, Frame(EthType.ARP)), (True, Frame(0x88CC))]
    for far in ("10.1.0.1", "10.1.0.3", "10.0.0.2", "10.0.0.9", "192.0.2.7", "192.0.2.200", "fd00::3", "2001:db8::1"):
        near = "fd00::9" if ":" in far else "10.1.0.9"
        for protocol, port in (("TCP", 80), ("TCP", 53), ("UDP", 81), ("ICMP", 0)):
            found.append((True, frame(near, far, protocol, port)))
            found.append((False, frame(far, near, protocol, port)))
    return found


FRAMES = frames()


def fates(mirrors: Mapping[Hook, Mirror], sent_out: Sequence[tuple[bool, Frame]] = FRAMES) -> list[tuple[bool, bool]]:
    """Of each packet, and of its reply: whether it passes."""
    tracker = Tracker()
    device = Device({hook: mirrors[hook].filters for hook in Hook}, tracker)
    found = []
    for out, sent in sent_out:
        ways = (device.sends, device.receives) if out else (device.receives, device.sends)
        passed = ways[0](sent)
        found.append((passed, passed and (sent.version is None or ways[1](sent.turned))))
        tracker.forget()
    return found


@share(10)
@given(secondary.busy_stories())
def test_nothing_opens_and_nothing_blinks_whatever_was_made_of_a_plan(events: list[ObjectEvent]):
    told = Planned()
    for event in events:
        told.hear(event)
        for key, _, steps in told.plans():
            mirrors = told.mirrors[key]
            before = fates(mirrors)
            after_all = {hook: Mirror(mirrors[hook].filters) for hook in Hook}
            for hook, operation in steps:
                after_all[hook].apply((operation,))
            after = fates(after_all)
            for hook, operation in steps:
                mirrors[hook].apply((operation,))
                for packet, now, was, will_be in zip(FRAMES, fates(mirrors), before, after, strict=True):
                    for one, other, third in zip(now, was, will_be, strict=True):
                        assert one in (other, third), (packet, operation)


@share(10)
@given(secondary.busy_stories())
def test_nothing_blinks_when_an_interface_is_let_go(events: list[ObjectEvent]):
    told = Planned()
    for event in events:
        told.hear(event)
    for key, contents, steps in told.plans():
        told.make(key, steps)
        mirrors = told.mirrors[key]
        before = fates(mirrors)
        for hook, operation in plan(EVERYTHING_OPEN, mirrors, None):
            mirrors[hook].apply((operation,))
            for packet, now, was in zip(FRAMES, fates(mirrors), before, strict=True):
                assert all(is_ or not had for is_, had in zip(now, was, strict=True)), (packet, operation, contents)
        assert all(not mirror.filters for mirror in mirrors.values())


class Open:
    """Connections that were opened and answered, of which one end talks on."""

    def __init__(self, mirrors: Mapping[Hook, Mirror], *, replies_alone: bool) -> None:
        self._tracker = Tracker()
        self._replies_alone = replies_alone
        device = self._device(mirrors)
        self.kept = [one for one in FRAMES if one[1].version is not None and all(_exchange(device, *one))]

    def pass_(self, mirrors: Mapping[Hook, Mirror]) -> list[bool]:
        device = self._device(mirrors)
        found = []
        for out, sent in self.kept:
            begins, answers = _ways(device, out)
            found.append((self._replies_alone or begins(sent)) and answers(sent.turned))
        return found

    def _device(self, mirrors: Mapping[Hook, Mirror]) -> Device:
        return Device({hook: mirrors[hook].filters for hook in Hook}, self._tracker)


def _ways(device: Device, out: bool) -> tuple[Callable[[Frame], bool], Callable[[Frame], bool]]:
    return (device.sends, device.receives) if out else (device.receives, device.sends)


def _exchange(device: Device, out: bool, sent: Frame) -> tuple[bool, bool]:
    begins, answers = _ways(device, out)
    return begins(sent), answers(sent.turned)


@share(10)
@given(secondary.busy_stories(), st.booleans())
def test_an_open_connection_that_stays_allowed_never_notices(events: list[ObjectEvent], replies_alone: bool):
    told = Planned()
    for event in events:
        told.hear(event)
        for key, contents, steps in told.plans():
            mirrors = told.mirrors[key]
            tracked = any(mirror.root for mirror in mirrors.values())
            opened = Open(mirrors, replies_alone=replies_alone)
            after = {hook: Mirror(mirror.filters) for hook, mirror in mirrors.items()}
            for hook, operation in steps:
                after[hook].apply((operation,))
            allowed = [all(one) for one in fates(after, opened.kept)]
            for hook, operation in steps:
                mirrors[hook].apply((operation,))
                passed = opened.pass_(mirrors) if tracked else []
                for packet, now, still in zip(opened.kept, passed, allowed, strict=False):
                    assert now or not still, (packet, operation, contents)


@share(10)
@given(secondary.busy_stories())
def test_what_is_not_allowed_any_more_ends_at_once_or_when_the_grace_is_over(events: list[ObjectEvent]):
    told = Planned()
    for event in events:
        told.hear(event)
        for key, contents, steps in told.plans():
            mirrors = told.mirrors[key]
            both, answers = (Open(mirrors, replies_alone=alone) for alone in (False, True))
            epoch = max(mirror.epoch for mirror in mirrors.values())
            told.make(key, steps)
            if not epoch or all(mirror.epoch in (0, epoch) for mirror in mirrors.values()):
                continue  # nothing was remembered, or only addresses changed
            allowed = [all(one) for one in fates(mirrors, both.kept)]
            assert all(still or not now for now, still in zip(both.pass_(mirrors), allowed, strict=True))
            for mirror in mirrors.values():
                mirror.apply(retire(mirror))
            for (out, packet), now in zip(answers.kept, answers.pass_(mirrors), strict=True):
                back = contents[Hook.EGRESS if out else Hook.INGRESS]
                assert not now or back.mode is not Mode.POLICED, packet
            assert plan(contents, mirrors, ZONE) == []
