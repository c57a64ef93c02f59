"""A real folder, looked at with a clock that the test turns."""

import os

import pytest
import structlog

from sluice.kube.digest import folder_digest
from sluice.services.ingest.catalog import Catalog
from sluice.services.ingest.source import FolderSource

SETTLE_S, GRACE_S = 1, 10
BAD = "---\na: [\n"


def namespace(name, note="1"):
    return f"---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{note: '{note}'}}}}}}\n"


class World:
    def __init__(self, root, stored=()):
        self.root = root
        self.now_s = 0.0
        self.catalog = Catalog(dict.fromkeys(stored, "u"), lambda: "made")
        self.source = FolderSource(root, self.catalog, settle_s=SETTLE_S, grace_s=GRACE_S, clock=lambda: self.now_s)
        self.there = {key.name for key in stored}

    def writes(self, path, text):
        (self.root / path).write_text(text)

    async def look(self, seconds=0.0):
        self.now_s += seconds
        outcome = await self.source.look()
        self.there |= {key.name for key in outcome.changes.put}
        self.there -= {key.name for key in outcome.changes.remove}
        return outcome

    async def settled(self):
        """As after a while in which nobody touched anything."""
        await self.look()
        await self.look(SETTLE_S)
        return await self.look(GRACE_S)

    def digest(self):
        files = [path for path in self.root.rglob("*") if path.is_file()]
        return folder_digest((path.relative_to(self.root).as_posix(), path.read_bytes()) for path in files)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


async def test_files_come_change_and_go(world):
    world.writes("a.yaml", namespace("a"))
    outcome = await world.settled()
    assert (world.there, outcome.problems, outcome.digest) == ({"a"}, (), world.digest())

    (world.root / "sub").mkdir()
    world.writes("sub/b.yaml", namespace("b") + namespace("c"))
    outcome = await world.settled()
    assert (world.there, outcome.digest) == ({"a", "b", "c"}, world.digest())

    world.writes("sub/b.yaml", namespace("c"))
    (world.root / "a.yaml").unlink()
    outcome = await world.settled()
    assert (world.there, outcome.digest) == ({"c"}, world.digest())


async def test_an_empty_folder_is_listed(world):
    outcome = await world.look()

    assert world.source.listed
    assert outcome.digest == folder_digest([])


async def test_nothing_is_listed_before_every_file_was_read(world):
    world.writes("a.yaml", namespace("a"))
    world.writes("half.yaml", namespace("b").rstrip())

    assert (await world.look()).digest == ""
    await world.look(SETTLE_S)
    assert (world.there, world.source.listed) == ({"a"}, False)
    await world.look(GRACE_S)
    assert (world.there, world.source.listed) == ({"a", "b"}, True)


async def test_a_change_counts_when_the_file_is_left_alone(world):
    await world.settled()
    world.writes("a.yaml", namespace("a"))
    await world.look()
    assert world.there == set()

    await world.look(SETTLE_S)
    assert world.there == {"a"}


async def test_a_file_being_written_takes_nothing_away(world):
    world.writes("a.yaml", namespace("a") + namespace("b"))
    await world.settled()

    world.writes("a.yaml", "")  # an editor truncates it,
    await world.look()
    await world.look(SETTLE_S)
    world.writes("a.yaml", namespace("a"))  # writes one half,
    await world.look(SETTLE_S)
    await world.look(GRACE_S - 1)
    assert world.there == {"a", "b"}

    world.writes("a.yaml", namespace("a", "2") + namespace("b"))  # and the other
    await world.settled()
    assert world.there == {"a", "b"}


async def test_a_file_that_breaks_off_waits(world):
    await world.settled()
    world.writes("a.yaml", namespace("a").rstrip("\n"))
    await world.look()
    await world.look(GRACE_S - 1)
    assert world.there == set()

    await world.look(1)
    assert world.there == {"a"}


async def test_json_shows_its_end(world):
    await world.settled()
    world.writes("a.json", '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}')
    await world.look()
    await world.look(SETTLE_S)

    assert world.there == {"a"}


async def test_an_editor_that_renames(world):
    world.writes("a.yaml", namespace("a"))
    await world.settled()

    (world.root / "a.yaml").rename(world.root / "a.yaml~")
    await world.look()
    world.writes("a.yaml", namespace("a", "2"))
    for _ in range(5):
        await world.look(SETTLE_S)
        assert world.there == {"a"}

    (world.root / ".a.yaml.swp").write_text("a: [")
    (world.root / ".new").write_text(namespace("b"))
    (world.root / ".new").rename(world.root / "a.yaml")
    await world.settled()
    assert world.there == {"b"}


async def test_a_bad_file_keeps_its_objects_and_is_reported(world):
    world.writes("a.yaml", namespace("a"))
    await world.settled()

    world.writes("a.yaml", BAD)
    outcome = await world.settled()

    assert world.there == {"a"}
    assert [(problem.file, problem.line) for problem in outcome.problems] == [("a.yaml", 2)]
    assert outcome.digest == world.digest(), "it was read, as bad as it is"

    world.writes("a.yaml", namespace("b"))
    outcome = await world.settled()
    assert (world.there, outcome.problems) == ({"b"}, ())


async def test_a_missing_folder_deletes_nothing(world):
    world.writes("a.yaml", namespace("a"))
    digest = (await world.settled()).digest

    world.root.rename(world.root.with_name("away"))
    outcome = await world.settled()
    assert world.there == {"a"}
    assert outcome.digest == digest
    assert [(problem.file, problem.path) for problem in outcome.problems] == [(".", "$")]
    assert "No such file or directory; make the folder readable" in outcome.problems[0].reason

    world.root.with_name("away").rename(world.root)
    outcome = await world.settled()
    assert (world.there, outcome.problems) == ({"a"}, ())


async def test_a_folder_missing_at_start_is_not_listed(tmp_path):
    world = World(tmp_path / "missing")
    outcome = await world.settled()

    assert not world.source.listed
    assert outcome.digest == ""
    assert len(outcome.problems) == 1

    world.root.mkdir()
    await world.look()
    assert world.source.listed


async def test_part_of_the_folder_out_of_sight_deletes_nothing(world, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "a.yaml").write_text(namespace("a"))
    (world.root / "sub").symlink_to(elsewhere)
    await world.settled()
    assert world.there == {"a"}

    (world.root / "sub").unlink()
    (world.root / "sub").symlink_to(".")  # as good as a folder that may not be read, which root always may
    outcome = await world.settled()
    assert world.there == {"a"}
    assert [problem.file for problem in outcome.problems] == ["sub"]

    (world.root / "sub").unlink()
    await world.settled()
    assert world.there == set()


async def test_an_unreadable_file_is_tried_again(world, monkeypatch):
    world.writes("a.yaml", namespace("a"))
    await world.settled()
    world.writes("a.yaml", namespace("a") + namespace("b"))
    opened = os.open

    def broken(path, *arguments, **options):
        if str(path).endswith("a.yaml"):
            raise OSError(5, "Input/output error")
        return opened(path, *arguments, **options)

    monkeypatch.setattr("sluice.services.ingest.folder.os.open", broken)
    outcome = await world.settled()
    assert world.there == {"a"}
    assert [problem.reason for problem in outcome.problems] == ["Input/output error; make it readable, or remove it"]
    assert outcome.digest != world.digest()

    monkeypatch.undo()
    outcome = await world.settled()
    assert (world.there, outcome.problems, outcome.digest) == ({"a", "b"}, (), world.digest())


async def test_a_file_that_only_looks_new_changes_nothing(world):
    world.writes("a.yaml", namespace("a"))
    await world.settled()
    (world.root / "a.yaml").touch()

    await world.look()
    outcome = await world.look(SETTLE_S)

    assert not outcome.changes.put
    assert outcome.digest == world.digest()


async def test_other_kinds_are_left_alone_and_said(world):
    world.writes("a.yaml", namespace("a") + "---\n{apiVersion: apps/v1, kind: Deployment}\n")
    structlog.reset_defaults()  # a command that ran before in this process may have said that this is nothing
    with structlog.testing.capture_logs() as said:
        outcome = await world.settled()

    assert (world.there, outcome.problems) == ({"a"}, ())
    assert said == [
        {"event": "documents_ignored", "file": "a.yaml", "kinds": ("Deployment of apps/v1",), "log_level": "info"}
    ]
