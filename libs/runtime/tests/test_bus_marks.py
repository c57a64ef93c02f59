"""When marks are due. Time is a number here."""

import itertools

from sluice.contracts.ids import NEVER
from sluice.runtime.marks import INTERVAL_S, Mark, Marks


def mark(name: str, after: int, subject: str = "groups._mark.0") -> Mark:
    return Mark(subject, name.encode(), NEVER, after)


def sent(marks: Marks, oldest: int, now_s: float = 0.0, *, idle: bool = False) -> list[str]:
    return [due.body.decode() for due in marks.due(oldest, now_s, idle=idle)]


def test_a_mark_waits_for_what_was_written_before():
    marks = Marks()
    marks.ask(mark("one", after=5))

    assert sent(marks, oldest=5) == []
    assert marks
    assert sent(marks, oldest=6) == ["one"]
    assert not marks


def test_a_newer_mark_replaces_one_that_waits():
    marks = Marks()
    for number in range(1, 5):
        marks.ask(mark(f"{number}", after=number))

    assert sent(marks, oldest=10) == ["4"]


def test_a_steady_stream_of_changes_does_not_put_marks_off():
    marks = Marks()
    told = []
    for number in range(1, 1000):  # a write and its mark each millisecond; a write is stored ten later
        marks.ask(mark(f"{number}", after=number))
        told += sent(marks, oldest=number - 10, now_s=number / 1000)

    assert len(told) == 20  # one each 50 ms
    assert all(int(later) > int(earlier) for earlier, later in itertools.pairwise(told))


def test_under_load_marks_keep_their_distance_and_when_idle_they_do_not():
    marks = Marks()
    marks.ask(mark("one", after=1))
    assert sent(marks, oldest=2, now_s=0.0) == ["one"]

    marks.ask(mark("two", after=2))
    assert sent(marks, oldest=3, now_s=INTERVAL_S / 2) == []
    assert marks.wait_s(oldest=3, now_s=INTERVAL_S / 2) == INTERVAL_S / 2
    assert sent(marks, oldest=3, now_s=INTERVAL_S / 2, idle=True) == ["two"]


def test_each_subject_has_its_own_line():
    marks = Marks()
    marks.ask(mark("ovs", after=1, subject="programs._mark.ovs.0"))
    marks.ask(mark("tc", after=9, subject="programs._mark.tc.0"))

    assert sent(marks, oldest=5) == ["ovs"]
    assert sent(marks, oldest=10) == ["tc"]


def test_after_a_new_beginning_the_latest_of_each_waits_for_everything():
    marks = Marks()
    marks.ask(mark("one", after=1))
    assert sent(marks, oldest=2) == ["one"]
    marks.ask_again(after=7)

    assert sent(marks, oldest=7, now_s=1.0) == []
    assert sent(marks, oldest=8, now_s=1.0) == ["one"]
