"""The past of LEDGER, on the real server: what was at any sequence and time, and whether it still is."""

import time

import pytest

from sluice.contracts import codec, subjects
from sluice.ledger.history import TooOld
from sluice.ledger.weaving import Made, Weaver
from sluice.runtime import past
from sluice.runtime.bus import Bus

NAMES = [f"objects.pods.x.p{number % 4}" for number in range(25)]


async def told(bus: Bus) -> None:
    for number, subject in enumerate(NAMES):
        await bus.js.publish(subject, b"" if number % 7 == 6 else b"{%d}" % number)


def folded(upto: int) -> dict[str, bytes]:
    held = {subject: b"" if number % 7 == 6 else b"{%d}" % number for number, subject in enumerate(NAMES[:upto])}
    return {subject: body for subject, body in held.items() if body}


async def keep(bus: Bus, every: int) -> list[Made]:
    """What the keeper of checkpoints stores."""
    here = await past.reach(bus)
    weaver = Weaver(here.epoch, every=every)
    entries = await past.entries(bus, here.epoch, 0, here.last)
    made = [due.make() for entry in entries if (due := weaver.take(entry))]
    for checkpoint, parts in made:
        for number, part in enumerate(parts):
            subject = subjects.state_part(here.epoch, checkpoint.last, number)
            await bus.js.publish(subject, codec.encode(part))
        await bus.js.publish(subjects.checkpoint(here.epoch, checkpoint.last), codec.encode(checkpoint))
    return made


async def test_any_sequence_is_told_and_what_has_aged_out_up_to_its_checkpoints(bus: Bus) -> None:
    await told(bus)
    for sequence in range(26):
        moment = await past.moment(bus, sequence)
        assert {subject: one.body for subject, one in moment.held.held.items()} == folded(sequence)
    made = await keep(bus, 10)
    assert [one.checkpoint.last for one in made] == [10, 20]
    await bus.js.purge_stream("LEDGER", seq=14)
    for sequence in (10, 20, 22, 25):
        moment = await past.moment(bus, sequence)
        assert {subject: one.body for subject, one in moment.held.held.items()} == folded(sequence)
    for sequence in (5, 11):
        with pytest.raises(TooOld, match="is older than the ledger goes back"):
            await past.moment(bus, sequence)
    with pytest.raises(TooOld, match="has only the entries 14 to 25"):
        await past.moment(bus, 26)


async def test_a_time_leads_to_a_sequence(bus: Bus) -> None:
    before = time.time_ns()
    await bus.js.publish(NAMES[0], b"{}")
    between = time.time_ns()
    await bus.js.publish(NAMES[1], b"{}")
    assert [await past.sequence_at(bus, at) for at in (before, between, time.time_ns())] == [0, 1, 2]


async def test_an_entry_that_was_deleted_is_found_missing(bus: Bus) -> None:
    await told(bus)
    await keep(bus, 10)
    assert not (await past.verified(bus)).findings
    await bus.js.delete_msg("LEDGER", 7)
    found = await past.verified(bus)
    assert [(one.sequence, one.fault) for one in found.findings] == [(7, "missing")]
    assert (found.checked, found.uncovered) == (19, 5)
