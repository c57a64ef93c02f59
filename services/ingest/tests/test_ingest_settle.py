"""When a file may be read. Time is a number here."""

from sluice.services.ingest.folder import Look, Signature
from sluice.services.ingest.settle import Settling

OLD, NEW = Signature(1, 1, 10, 1, 1), Signature(1, 1, 11, 2, 2)


class Folder:
    def __init__(self, settle_s=1, patience_s=5):
        self.settling = Settling(settle_s, patience_s)

    def at(self, now_s, files, held=(), troubles=None):
        """(settled, gone) after a look at these files."""
        self.settling.see(Look(files, troubles or {}), held, now_s)
        return [settled.path for settled in self.settling.settled(now_s)], self.settling.gone(now_s)


def test_a_file_is_settled_when_it_was_left_alone():
    folder = Folder()

    assert folder.at(0, {"a": OLD}) == ([], [])
    assert folder.at(0.5, {"a": OLD}) == ([], [])
    assert folder.at(1, {"a": OLD}) == (["a"], [])
    assert folder.at(1.5, {"a": NEW}) == ([], [])
    assert folder.at(2.5, {"a": NEW}) == (["a"], [])


def test_what_changes_together_is_taken_together():
    folder = Folder()
    folder.at(0, {"a": OLD})

    assert folder.at(0.9, {"a": OLD, "b": OLD}) == ([], [])
    assert folder.at(1.5, {"a": OLD, "b": OLD}, ["c"]) == ([], [])
    assert folder.at(2, {"a": OLD, "b": OLD}, ["c"]) == ([], []), "c went half a second ago"
    assert folder.at(2.5, {"a": OLD, "b": OLD}, ["c"]) == (["a", "b"], ["c"])


def test_a_folder_that_never_rests_holds_nothing_up():
    folder = Folder(patience_s=3)
    settled = [folder.at(tick / 2, {"a": OLD, "log": Signature(1, 1, tick, tick, tick)}, ["c"]) for tick in range(7)]

    assert settled[:-1] == [([], [])] * 6
    assert settled[-1] == (["a"], ["c"])


def test_a_file_that_comes_back_begins_again():
    folder = Folder()
    folder.at(0, {"a": OLD})
    folder.at(0.5, {})

    assert folder.at(1, {"a": OLD}) == ([], [])
    assert folder.at(2, {"a": OLD}) == (["a"], [])


def test_since_when():
    folder = Folder()
    folder.at(5, {"a": OLD})
    folder.at(9, {"a": OLD})

    assert [(one.signature, one.since_s) for one in folder.settling.settled(9)] == [(OLD, 5)]


def test_a_file_is_gone_when_it_stays_away():
    folder = Folder()

    assert folder.at(0, {}, ["a"]) == ([], [])
    assert folder.at(0.9, {"a": OLD}, ["a"]) == ([], []), "an editor renamed it, and put a new one in its place"
    assert folder.at(1.5, {}, ["a"]) == ([], [])
    assert folder.at(2.5, {}, ["a"]) == ([], ["a"])


def test_a_file_out_of_sight_is_not_gone():
    folder = Folder()

    for now_s in (0, 5):
        assert folder.at(now_s, {}, ["x/a", "b"], {"x": "no permission", "b": "no permission"}) == ([], [])
    assert folder.at(6, {}, ["x/a"]) == ([], []), "not being there counts from when it could be seen"
    assert folder.at(7, {}, ["x/a"]) == ([], ["x/a"])
