import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.contracts import codec
from sluice.kube.digest import folder_digest, is_manifest, listing_digest

FOLDER = [("a.yaml", b"1"), ("sub/b.json", b"2")]


@pytest.mark.parametrize(
    ("path", "read"),
    [
        ("a.yaml", True),
        ("a.yml", True),
        ("deep/er/a.json", True),
        ("a.txt", False),
        ("yaml", False),
        (".a.yaml.swp", False),
        (".a.yaml", False),
        ("..data/a.yaml", False),
        ("x/.git/a.yaml", False),
        ("a.yaml~", False),
    ],
)
def test_which_files_are_read(path, read):
    assert is_manifest(path) is read


@given(st.permutations([*FOLDER, ("notes.txt", b"3"), (".hidden.yaml", b"4")]))
def test_order_and_other_files_do_not_matter(folder):
    assert folder_digest(folder) == folder_digest(FOLDER)


@pytest.mark.parametrize(
    "other",
    [
        [],
        [("a.yaml", b"1")],
        [("a.yaml", b"1"), ("sub/b.json", b"3")],
        [("a.yaml", b"2"), ("sub/b.json", b"1")],
        [("a.yaml", b"1"), ("b.json", b"2")],
    ],
)
def test_another_folder_has_another_digest(other):
    assert folder_digest(other) != folder_digest(FOLDER)


def test_the_digests_of_the_files_are_enough():
    assert listing_digest((path, codec.digest(content)) for path, content in FOLDER) == folder_digest(FOLDER)
