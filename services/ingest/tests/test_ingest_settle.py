"""When a file may be read. Time is a number here."""

from sluice.services.ingest.folder import Look, Signature
from sluice.services.ingest.settle import Settling

OLD, NEW = Signature(1, 1, 10, 1, 1), Signature(1, 1, 11, 2, 2)


def sees(settling, now_s, files, troubles=None):
    return sorted(settled.path for settled in settling.see(Look(files, troubles or {}), now_s))


def test_a_file_is_settled_when_it_was_left_alone():
    settling = Settling(settle_s=1)

    assert sees(settling, 0, {"a": OLD}) == []
    assert sees(settling, 0.5, {"a": OLD}) == []
    assert sees(settling, 1, {"a": OLD, "b": OLD}) == ["a"]
    assert sees(settling, 1.5, {"a": NEW, "b": OLD}) == []
    assert sees(settling, 2, {"a": NEW, "b": OLD}) == ["b"]
    assert sees(settling, 2.5, {"a": NEW, "b": OLD}) == ["a", "b"]


def test_a_file_that_comes_back_begins_again():
    settling = Settling(settle_s=1)
    sees(settling, 0, {"a": OLD})
    sees(settling, 0.5, {})

    assert sees(settling, 1, {"a": OLD}) == []
    assert sees(settling, 2, {"a": OLD}) == ["a"]


def test_since_when():
    settling = Settling(settle_s=1)
    settling.see(Look({"a": OLD}, {}), 5)

    (settled,) = settling.see(Look({"a": OLD}, {}), 9)

    assert (settled.signature, settled.since_s) == (OLD, 5)


def test_a_file_is_gone_when_it_stays_away():
    settling = Settling(settle_s=1)

    assert settling.gone(Look({}, {}), ["a"], 0) == []
    assert settling.gone(Look({"a": OLD}, {}), ["a"], 0.9) == [], "an editor renamed it, and put a new one in its place"
    assert settling.gone(Look({}, {}), ["a"], 1.5) == []
    assert settling.gone(Look({}, {}), ["a"], 2.5) == ["a"]


def test_a_file_out_of_sight_is_not_gone():
    settling = Settling(settle_s=1)

    for now_s in (0, 5):
        assert settling.gone(Look({}, {"x": "no permission", "b": "no permission"}), ["x/a", "b"], now_s) == []
    assert settling.gone(Look({}, {}), ["x/a"], 6) == [], "not being there counts from when it could be seen"
    assert settling.gone(Look({}, {}), ["x/a"], 7) == ["x/a"]
