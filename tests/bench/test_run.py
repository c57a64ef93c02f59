"""The table that benchmarks are read from says what they said."""

import shutil
from importlib.util import find_spec

import msgspec
from tests.bench import figures, run
from tests.bench.figures import Figure
from tests.bench.run import BENCHMARKS

REACHED = Figure("P1", "much", 0.5, "s", to_beat=6.1, target=2.0, cpu=0.4)
MISSED = Figure("P10", "late", 1234.5, "ms", target=20.0)


def test_a_row_says_what_was_found_and_if_that_is_enough():
    head, rule, *rows = figures.table([REACHED, MISSED]).splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (head, *rows)]

    assert cells[0] == list(figures.HEAD)
    assert cells[1] == ["P1", "much", "0.5 s", "0.4 s", "6.1 s", "12.2", "2 s", "yes"]
    assert cells[2] == ["P10", "late", "1234 ms", "", "", "", "20 ms", "NO"]
    assert {len(row) for row in (head, rule, *rows)} == {len(head)}


def test_what_a_benchmark_shows_is_in_the_table(tmp_path, monkeypatch):
    monkeypatch.setenv(figures.OUT, str(tmp_path / "out"))
    figures.show(REACHED, "and why")
    figures.show(MISSED)

    assert figures.read(tmp_path / "out") == [REACHED._replace(detail="and why"), MISSED]


def test_programs_read_ratio_and_verdict():
    first, second = msgspec.json.decode(figures.as_json([REACHED, MISSED]))

    assert (first["ratio"], first["reached"]) == (12.2, True)
    assert (second["ratio"], second["reached"]) == (None, False)


BENCHES = {
    "fails": "import sys; sys.exit(3)",
    "hangs": """
import pathlib, time
try:
    time.sleep(60)
finally:
    pathlib.Path(__file__).with_suffix(".ended").touch()
""",
    "shows": """
from tests.bench.figures import Figure, show
show(Figure("P1", "much", 0.5, "s"))
""",
}


def test_a_benchmark_that_fails_or_hangs_keeps_no_other_from_running(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text(f"before\n{run.BEGIN}\nold\n{run.END}\nafter\n")
    (tmp_path / "tests" / "bench").mkdir(parents=True)
    for name, code in BENCHES.items():
        (tmp_path / "tests" / "bench" / f"{name}.py").write_text(code)
    shutil.copy(figures.__file__, tmp_path / "tests" / "bench")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "PAGE", page)
    monkeypatch.setattr(run, "LONGEST_S", 5)
    monkeypatch.setattr(run, "BENCHMARKS", {"P8": ("fails",), "P9": ("hangs",), "P1": ("shows",)})

    assert run.main(["--page"]) == 1

    before, _, after = page.read_text().partition("Not measured: ")
    assert before.startswith("before\n")
    assert "| P1  | much" in before or "| P1 | much" in before
    assert after == f"P8 (fails: exit code 3), P9 (hangs: not done after 5 s).\n{run.END}\nafter\n"
    assert (tmp_path / "tests" / "bench" / "hangs.ended").exists()


def test_every_benchmark_is_there():
    missing = [name for modules in BENCHMARKS.values() for name in modules if find_spec(f"tests.bench.{name}") is None]

    assert missing == []
