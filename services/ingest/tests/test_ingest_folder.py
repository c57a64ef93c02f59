"""What a look at a folder finds: files, and what cannot be read."""

import os
import socket

import pytest

from sluice.services.ingest import folder
from sluice.services.ingest.folder import FolderGone, Unreadable, look, read


def test_manifests_at_any_depth_and_nothing_else(tmp_path):
    for path in ("a.yaml", "x/b.yml", "x/y/c.json", "notes.txt", ".hidden.yaml", ".git/d.yaml", "x/.e.yaml", "f.yaml~"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("")

    found = look(tmp_path)

    assert sorted(found.files) == ["a.yaml", "x/b.yml", "x/y/c.json"]
    assert not found.troubles


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FolderGone, match=r"missing: No such file or directory; make the folder readable"):
        look(tmp_path / "missing")


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(FolderGone, match="Not a directory"):
        look(tmp_path / "f")


def test_links_are_followed_as_kubernetes_volumes_need_it(tmp_path):
    (tmp_path / "..2024").mkdir()
    (tmp_path / "..2024" / "a.yaml").write_text("a: 1")
    (tmp_path / "..data").symlink_to("..2024")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")

    found = look(tmp_path)

    assert list(found.files) == ["a.yaml"]
    assert read(tmp_path, "a.yaml", found.files["a.yaml"]) == b"a: 1"


def test_links_that_lead_nowhere_or_round(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    (tmp_path / "x" / "y" / "up").symlink_to("..")
    (tmp_path / "here").symlink_to(".")
    (tmp_path / "gone.yaml").symlink_to("nothing")
    (tmp_path / "self.yaml").symlink_to("self.yaml")
    (tmp_path / "a.yaml").write_text("")

    found = look(tmp_path)

    assert list(found.files) == ["a.yaml"]
    assert {path: reason.partition(";")[0] for path, reason in found.troubles.items()} == {
        "x/y/up": "a link to a folder that contains it",
        "here": "a link to a folder that contains it",
        "gone.yaml": "a link to a file that does not exist",
        "self.yaml": "Too many levels of symbolic links",
    }
    assert all(";" in reason for reason in found.troubles.values())


def test_a_folder_of_another_place_may_be_linked(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.yaml").write_text("")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "one").symlink_to("../there")
    (tmp_path / "root" / "two").symlink_to("../there")

    assert sorted(look(tmp_path / "root").files) == ["one/a.yaml", "two/a.yaml"]


def test_folders_without_end(tmp_path):
    deep = tmp_path.joinpath(*["d"] * (folder.MAX_LEVELS + 1))
    deep.mkdir(parents=True)
    (deep / "a.yaml").write_text("")

    found = look(tmp_path)

    assert not found.files
    assert list(found.troubles.values()) == ["more than 32 folders deep; move it up"]


def test_what_is_no_file_is_never_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s.yaml"))
        found = look(tmp_path)

    assert not found.files
    assert sorted(found.troubles) == ["pipe.yaml", "s.yaml"]


def test_a_name_that_is_no_text(tmp_path):
    name = os.fsencode(tmp_path) + b"/\xff.yaml"
    with open(name, "w"):  # noqa: PTH123  # a Path would need to be text
        pass

    found = look(tmp_path)

    assert not found.files
    assert found.troubles == {"\N{REPLACEMENT CHARACTER}.yaml": "the name is not UTF-8; rename the file"}


def test_what_is_out_of_sight_is_not_known(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "up").symlink_to("..")
    found = look(tmp_path)

    assert found.knows("a.yaml")
    assert found.knows("x/a.yaml")
    assert not found.knows("x/up/a.yaml")


def test_a_file_that_changed_since_it_was_seen_is_not_read(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("old")
    signature = look(tmp_path).files["a.yaml"]
    path.write_text("newer")

    assert read(tmp_path, "a.yaml", signature) is None
    path.unlink()
    assert read(tmp_path, "a.yaml", signature) is None


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    (tmp_path / "a.yaml").mkdir()  # root may read everything, but not a folder as a file
    signature = folder.Signature(0, 0, 0, 0, 0)

    with pytest.raises(Unreadable, match="directory; make it readable, or remove it"):
        read(tmp_path, "a.yaml", signature)
