"""Ids and priorities of rules outlive the process that gave them."""

from pathlib import Path

import pytest

from sluice.contracts.ids import GroupId
from sluice.contracts.programs import Action, Direction
from sluice.dataplane.ovs.engine import Engine
from sluice.dataplane.ovs.ids import RuleIds
from sluice.services.node_ovs.idsfile import IdsFile
from sluice.testkit.worlds import HERE, TIER_UNITS, member, page, port, program, rule

MINE = GroupId("mine")


def node(ids: RuleIds) -> Engine:
    engine = Engine(HERE, ids)
    engine.open_port(port("x/a"))
    engine.put_page(page(MINE, HERE, member("x/a")))
    return engine


def put(engine: Engine, number: int) -> None:
    one = rule(0, Direction.INGRESS, Action.DROP)
    engine.put_program(program(TIER_UNITS[number], MINE, one, tier=50, priority=number))


def test_a_restarted_programmer_makes_the_flows_that_it_made(tmp_path: Path):
    file = IdsFile(tmp_path / "state" / "ids.json")
    ids = file.load()
    before = node(ids)
    for number in (2, 0, 1):
        put(before, number)
        before.drain()
    file.save(ids)

    after = node(IdsFile(tmp_path / "state" / "ids.json").load())
    for number in range(3):
        put(after, number)

    assert after.flows == before.flows


def test_what_did_not_change_is_not_written(tmp_path: Path):
    path = tmp_path / "ids.json"
    file = IdsFile(path)
    ids = file.load()
    engine = node(ids)
    put(engine, 0)
    engine.drain()
    file.save(ids)
    path.unlink()

    file.save(ids)
    assert not path.exists()

    put(engine, 1)
    engine.drain()
    file.save(ids)
    assert len(IdsFile(path).load().priorities) == 2


def test_a_place_that_is_left_is_not_kept(tmp_path: Path):
    path = tmp_path / "ids.json"
    file = IdsFile(path)
    ids = file.load()
    engine = node(ids)
    put(engine, 0)
    engine.drain()
    file.save(ids)

    engine.drop_program(MINE, TIER_UNITS[0])
    file.save(ids)

    assert len(IdsFile(path).load().priorities) == 0


@pytest.mark.parametrize("body", [b"{", b'{"last":1,"slots":[[5,0,null]],"placed":[["x",1,2]]}'])
def test_a_file_that_cannot_be_read_is_set_aside(tmp_path: Path, body: bytes):
    path = tmp_path / "ids.json"
    path.write_bytes(body)

    assert len(IdsFile(path).load()) == 0
    assert (tmp_path / "ids.bad").read_bytes() == body
