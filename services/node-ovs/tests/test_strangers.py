"""Whose connections nobody has judged outlives the process."""

from pathlib import Path

from sluice.contracts.ids import Uid
from sluice.services.node_ovs.strangers import Strangers

A, B = Uid("a"), Uid("b")


def test_they_are_kept_until_the_switch_holds_what_it_should(tmp_path: Path) -> None:
    strangers = Strangers(tmp_path)
    assert strangers.kept == frozenset()
    strangers.before_change({A})
    strangers.before_change({B})  # a is known by now, and its connections are still there
    assert Strangers(tmp_path).kept == {A, B}

    strangers.after_change({B})
    assert Strangers(tmp_path).kept == {B}
    strangers.after_change(frozenset())
    assert Strangers(tmp_path).kept == frozenset()
