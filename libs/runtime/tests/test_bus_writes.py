"""The writer's bookkeeping: what may be sent when."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import codec
from sluice.contracts.groups import Member, Page
from sluice.contracts.ids import NEVER, GroupId, NodeName, Revision, Uid
from sluice.runtime.writes import Held, Write, Writes, without_cause

MARK = "groups._mark.0"


def send(writes: Writes) -> list[Write]:
    taken = []
    while write := writes.take():
        taken.append(write)
    return taken


def texts(taken: list[Write]) -> list[str]:
    return [f"{write.subject}={write.body.decode()}" for write in taken]


def test_what_was_not_sent_yet_is_replaced():
    writes = Writes()
    writes.add("a", b"1", NEVER)
    writes.add("a", b"2", NEVER)

    assert texts(send(writes)) == ["a=2"]


def test_what_was_sent_is_waited_for():
    writes = Writes()
    first = writes.add("a", b"1", NEVER)
    send(writes)
    writes.add("a", b"2", NEVER)
    assert send(writes) == []

    writes.stored(first, 7)
    assert texts(send(writes)) == ["a=2"]
    assert writes.held["a"].sequence == 7


def test_after_means_after():
    writes = Writes()
    page = writes.add("page", b"new", NEVER)
    own = writes.add("own", b"both", NEVER, [page])
    writes.add("old", b"", NEVER, [own])
    assert texts(send(writes)) == ["page=new"]

    writes.stored(page, 1)
    assert texts(send(writes)) == ["own=both"]
    writes.stored(own, 2)
    assert texts(send(writes)) == ["old="]


def test_a_replacement_that_its_blockers_wait_for_queues_up_behind():
    writes = Writes()
    page = writes.add("page", b"new", NEVER)
    own = writes.add("own", b"both", NEVER, [page])
    writes.add("page", b"", NEVER, [own])  # in place of the first it would wait for itself

    order = []
    while taken := send(writes):
        order += texts(taken)
        for number, write in enumerate(taken, start=len(order)):
            writes.stored(write, number)
    assert order == ["page=new", "own=both", "page="]
    assert len(writes) == 0


def test_the_end_of_what_never_was_is_not_sent():
    writes = Writes()
    write = writes.add("a", b"1", NEVER)
    after = writes.add("b", b"1", NEVER, [write])
    writes.add("a", b"", NEVER)

    assert send(writes) == [after]
    assert write.done
    assert len(writes) == 1


def test_what_was_refused_gives_way_to_a_newer_value():
    writes = Writes()
    write = writes.add("a", b"too large", NEVER)
    send(writes)
    writes.refused(write)
    writes.add("a", b"small", NEVER)

    assert texts(send(writes)) == ["a=small"]


def test_a_write_is_sent_again_only_if_it_was_sent():
    writes = Writes()
    first = writes.add("a", b"1", NEVER)
    writes.again(first)
    assert texts(send(writes)) == ["a=1"]
    writes.again(first)
    writes.again(first)
    assert texts(send(writes)) == ["a=1"]
    writes.stored(first, 1)
    writes.again(first)
    assert send(writes) == []


def test_a_new_beginning_stores_all_that_is_wanted_again_but_no_mark():
    writes = Writes()
    for number, subject in enumerate(["kept", "gone", "changed", MARK], start=1):
        writes.stored(writes.add(subject, b"1", NEVER, is_mark=subject == MARK), number)
    writes.stored(writes.add("gone", b"", NEVER), 5)
    changed = writes.add("changed", b"2", NEVER)
    writes.add(MARK, b"2", NEVER, is_mark=True)
    send(writes)
    writes.begin_again()
    writes.again(changed)

    assert sorted(texts(send(writes))) == ["changed=2", "kept=1"]
    assert writes.headers(changed, 60)["Nats-Expected-Last-Subject-Sequence"] == "0"
    assert writes.last(MARK) is None


def test_the_headers_of_a_tombstone():
    writes = Writes()
    writes.stored(writes.add("a", b"1", NEVER), 7)
    headers = writes.headers(writes.add("a", b"", Revision(5, 9)), 3600)

    assert headers["Nats-TTL"] == "3600"
    assert headers["Nats-Expected-Last-Subject-Sequence"] == "7"
    assert headers["Sluice-Cause"] == "5.9"


def test_tombstones_are_forgotten_when_the_stream_forgot_them():
    writes = Writes()
    for subject, time_s in (("a", 1.0), ("b", 2.0), ("c", 3.0)):
        writes.stored(writes.add(subject, b"", NEVER), 1)
        writes.buried(subject, time_s)
    writes.stored(writes.add("b", b"again", NEVER), 2)
    writes.prune(2.5)

    assert sorted(writes.held) == ["b", "c"]


def test_only_the_cause_itself_is_ignored():
    def page(cause: int, pod: str) -> bytes:
        members = (Member(pod=pod, uid=Uid("u")),)
        return codec.encode(Page(group=GroupId("g"), node=NodeName("n"), cause=Revision(1, cause), members=members))

    assert without_cause(page(1, "a/b")) == without_cause(page(2, "a/b"))
    assert without_cause(page(1, "a/b")) != without_cause(page(1, "a/c"))
    assert without_cause(page(1, '"cause":[1,2],')) != without_cause(page(1, ""))


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "2", ""]), st.integers(0, 3)), max_size=30),
    st.integers(),
)
@pytest.mark.parametrize("refusals", [False, True], ids=["taken", "sometimes refused"])
def test_whatever_is_asked_in_whatever_order_it_is_stored_the_last_value_stays(refusals, asked, seed):
    chance = random.Random(seed)
    writes = Writes()
    made: list[Write] = []
    stored: dict[str, Held] = {}
    flying: list[Write] = []

    def step() -> None:
        flying.extend(send(writes))
        if not flying:
            return
        write = flying.pop(chance.randrange(len(flying)))
        if refusals and chance.random() < 0.3:
            writes.refused(write)
            writes.release(write)
            return
        assert writes.held.get(write.subject, stored.get(write.subject)) == stored.get(write.subject)
        writes.stored(write, len(made) + chance.randrange(1000))
        stored[write.subject] = writes.held[write.subject]

    for subject, body, back in asked:
        made.append(writes.add(subject, body.encode(), NEVER, made[-back:] if back else ()))
        if chance.random() < 0.5:
            step()
    for _ in range(1000):
        step()

    assert len(writes) == 0
    wanted = {subject: body for subject, body, _ in asked}
    held = {subject: held.body.decode() for subject, held in stored.items() if held.body}
    assert held == {subject: body for subject, body in wanted.items() if body}
