"""A ledger of the past tells what was, and whether it still is what it was."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from sluice.contracts import codec
from sluice.contracts.ledger import Checkpoint, StatePart
from sluice.contracts.streams import MAX_PAYLOAD_BYTES
from sluice.ledger import chain, history, state
from sluice.ledger.chain import Entry
from sluice.ledger.state import BadState, State
from sluice.ledger.verifying import verify
from sluice.ledger.weaving import Made, Weaver

EVERY = 5
EPOCH = 1_700_000_000_000_000

subjects = st.sampled_from([f"objects.pods.x.{name}" for name in "abcde"])
bodies = st.one_of(st.just(b""), st.binary(min_size=1, max_size=12))


@st.composite
def ledgers(draw: st.DrawFn, least: int = 1) -> list[Entry]:
    told = draw(st.lists(st.tuples(subjects, bodies), min_size=least, max_size=40))
    return [Entry(at, subject, body, at * 1_000) for at, (subject, body) in enumerate(told, start=1)]


def woven(entries: Sequence[Entry]) -> list[Made]:
    weaver = Weaver(EPOCH, every=EVERY)
    return [due.make() for entry in entries if (due := weaver.take(entry))]


def folded(entries: Sequence[Entry], upto: int) -> dict[str, bytes]:
    held = {entry.subject: entry.body for entry in entries if entry.sequence <= upto}
    return {subject: body for subject, body in held.items() if body}


def bodies_of(held: State) -> dict[str, bytes]:
    return {subject: one.body for subject, one in held.held.items()}


@given(ledgers())
def test_an_untouched_ledger_verifies(entries: list[Entry]) -> None:
    found = verify([made.checkpoint for made in woven(entries)], entries)
    assert not found.findings
    assert found.checked == len(entries) // EVERY * EVERY
    assert found.checked + found.uncovered == len(entries)


@given(ledgers(EVERY), st.data())
def test_one_flipped_bit_is_located(entries: list[Entry], data: st.DataObject) -> None:
    checkpoints = [made.checkpoint for made in woven(entries)]
    at = data.draw(st.integers(0, checkpoints[-1].last - 1))
    victim = entries[at]
    raw = bytearray(victim.body or b"\0")
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    changed = [*entries[:at], victim._replace(body=bytes(raw)), *entries[at + 1 :]]
    found = verify(checkpoints, changed)
    assert [one.sequence for one in found.findings] == [victim.sequence]
    assert found.findings[0].fault in ("altered", "moved")  # it may equal another entry by chance


@given(ledgers(EVERY + 1), st.data())
def test_one_missing_entry_is_located(entries: list[Entry], data: st.DataObject) -> None:
    checkpoints = [made.checkpoint for made in woven(entries)]
    at = data.draw(st.integers(1, checkpoints[-1].last - 1))  # the oldest of all may have gone with age
    found = verify(checkpoints, [*entries[:at], *entries[at + 1 :]])
    assert [(one.sequence, one.fault) for one in found.findings] == [(at + 1, "missing")]


@given(ledgers(EVERY), st.data())
def test_two_entries_in_each_others_place_are_located(entries: list[Entry], data: st.DataObject) -> None:
    checkpoints = [made.checkpoint for made in woven(entries)]
    one, other = data.draw(
        st.lists(st.integers(0, checkpoints[-1].last - 1), min_size=2, max_size=2, unique=True).map(sorted)
    )
    changed = list(entries)
    changed[one] = entries[other]._replace(sequence=one + 1)
    changed[other] = entries[one]._replace(sequence=other + 1)
    alike = entries[one][1:3] == entries[other][1:3]
    found = verify(checkpoints, changed)
    assert [each.sequence for each in found.findings] == ([] if alike else [one + 1, other + 1])
    if one // EVERY == other // EVERY:
        assert {each.fault for each in found.findings} <= {"moved"}


@given(ledgers(2 * EVERY), st.data())
def test_a_changed_checkpoint_is_seen(entries: list[Entry], data: st.DataObject) -> None:
    checkpoints = [made.checkpoint for made in woven(entries)]
    at = data.draw(st.integers(0, len(checkpoints) - 1))
    field = data.draw(st.sampled_from(["before", "head", "digests"]))
    value = getattr(checkpoints[at], field)
    other: object = bytes(len(value)) if isinstance(value, bytes) else chain.link(b"", entries[0]).hex()
    checkpoints[at] = replace(checkpoints[at], **{field: other})
    assert verify(checkpoints, entries).findings


def test_an_entry_and_its_digest_changed_together_are_seen() -> None:
    entries = [Entry(at, "objects.pods.x.a", b"%d" % at) for at in range(1, 11)]
    checkpoints = [made.checkpoint for made in woven(entries)]
    entries[2] = entries[2]._replace(body=b"forged")
    first = checkpoints[0]
    checkpoints[0] = replace(first, digests=b"".join(chain.digest(entry) for entry in entries[:EVERY]))
    assert [one.fault for one in verify(checkpoints, entries).findings] == ["checkpoint"]


def test_a_missing_checkpoint_is_seen() -> None:
    entries = [Entry(at, "objects.pods.x.a", b"%d" % at) for at in range(1, 16)]
    first, _, last = (made.checkpoint for made in woven(entries))
    assert [(one.sequence, one.fault) for one in verify([first, last], entries[:5] + entries[10:]).findings] == [
        (15, "checkpoint")
    ]


@given(ledgers(EVERY), st.integers(0, 40))
def test_what_has_aged_out_is_no_fault(entries: list[Entry], gone: int) -> None:
    checkpoints = [made.checkpoint for made in woven(entries)]
    assert not verify(checkpoints, entries[min(gone, len(entries)) :]).findings


@given(ledgers(), st.integers(0, 40), st.data())
def test_any_moment_is_rebuilt(entries: list[Entry], gone: int, data: st.DataObject) -> None:
    made = woven(entries)
    kept = entries[min(gone, len(entries)) :]
    first = kept[0].sequence if kept else len(entries) + 1
    wanted = data.draw(st.integers(1, len(entries)))
    checkpoints = [one.checkpoint for one in made]
    reachable = wanted >= first - 1 and (first == 1 or any(first - 1 <= one.last <= wanted for one in checkpoints))
    try:
        begun = history.start(checkpoints, first, wanted)
    except history.TooOld:
        assert not reachable
        assert all(one.last != wanted for one in checkpoints)
        return
    parts = next((one.parts for one in made if one.checkpoint == begun.checkpoint), None)
    held = state.read(parts, begun.checkpoint.state) if begun.checkpoint and parts else State()
    rebuilt = history.replay(held, [entry for entry in kept if entry.sequence >= begun.sequence], wanted)
    assert bodies_of(rebuilt) == folded(entries, wanted)


@given(ledgers(EVERY), st.integers(1, 40))
def test_a_weaver_that_restarts_makes_the_same_checkpoints(entries: list[Entry], stop: int) -> None:
    whole = woven(entries)
    before = woven(entries[:stop])
    if before:
        checkpoint, parts = before[-1]
        weaver = Weaver.resumed(checkpoint, state.read(parts, checkpoint.state), every=EVERY)
    else:
        weaver = Weaver(EPOCH, every=EVERY)
    after = [due.make() for entry in entries if (due := weaver.take(entry))]
    assert [*before, *after] == whole


def test_parts_that_were_exchanged_are_no_state() -> None:
    one, other = (State(), State())
    other.take(Entry(1, "objects.pods.x.a", b"{}"))
    with pytest.raises(BadState, match="do not match"):
        state.read(state.write(other), state.digest(state.write(one)))


def test_parts_that_cannot_be_read_are_no_state() -> None:
    parts = [StatePart(rows=b"rubbish")]
    with pytest.raises(BadState, match="part 0"):
        state.read(parts, state.digest(parts))


def test_a_part_fits_a_message_even_if_nothing_shrinks() -> None:
    held = State()
    noise = chain.GENESIS
    for number in range(30):
        chunks = []
        for _ in range(16_384):
            noise = chain.link(noise, Entry(1, "", b""))
            chunks.append(noise)
        held.take(Entry(number + 1, f"objects.pods.x.{number}", b"".join(chunks)))
    parts = state.write(held)
    assert len(parts) > 1
    assert max(len(codec.encode(part)) for part in parts) <= MAX_PAYLOAD_BYTES
    assert state.read(parts, state.digest(parts)).held == held.held


def test_a_checkpoint_fits_a_message() -> None:
    entries = [Entry(at, "objects.pods.x.a", b"{}") for at in range(1, 10_001)]
    weaver = Weaver(EPOCH)
    (made,) = (due.make() for entry in entries if (due := weaver.take(entry)))
    encoded = codec.encode(made.checkpoint)
    assert len(encoded) < 120_000
    assert codec.decode(encoded, Checkpoint) == made.checkpoint
