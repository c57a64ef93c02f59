"""A log that grows: whole lines, begun anew when it is full or gone, and never more of it than is wanted."""

import gzip
import os
import time
from pathlib import Path

from sluice.runtime.logfile import Limits, LogFile

LINE = b"0123456789\n"


def limits(*, size_bytes: int = 100, backups: int = 9, age_s: float = 0, compress: bool = False) -> Limits:
    return Limits(size_bytes=size_bytes, backups=backups, age_s=age_s, compress=compress)


def full(folder: Path) -> list[Path]:
    return sorted(folder.glob("np-*"))


def test_lines_are_appended_to_what_is_there(tmp_path: Path):
    path = tmp_path / "var/log/np.log"
    LogFile(path, limits()).append(LINE)
    LogFile(path, limits()).append(LINE)

    assert path.read_bytes() == 2 * LINE
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_full_one_is_set_aside_and_no_line_is_lost_or_torn(tmp_path: Path):
    file = LogFile(tmp_path / "np.log", limits())
    for _ in range(50):
        file.append(LINE)

    files = [*full(tmp_path), tmp_path / "np.log"]
    assert b"".join(path.read_bytes() for path in files) == 50 * LINE
    assert {path.stat().st_size for path in files[:-1]} == {99}


def test_one_that_somebody_moved_or_removed_is_begun_anew(tmp_path: Path):
    path = tmp_path / "np.log"
    file = LogFile(path, limits())
    file.append(LINE)
    path.rename(tmp_path / "np.log.1")
    file.append(LINE)
    path.unlink()
    file.append(2 * LINE)

    assert (tmp_path / "np.log.1").read_bytes() == LINE
    assert path.read_bytes() == 2 * LINE


def test_one_that_somebody_truncated_goes_on_from_its_beginning(tmp_path: Path):
    file = LogFile(tmp_path / "np.log", limits())
    file.append(5 * LINE)
    os.truncate(tmp_path / "np.log", 0)
    file.append(LINE)

    assert (tmp_path / "np.log").read_bytes() == LINE


def test_each_begins_with_what_all_begin_with(tmp_path: Path):
    said = [b"one\n"]
    file = LogFile(tmp_path / "np.log", limits(), lambda: b"".join(said))
    file.append(b"one\n", in_head=True)
    said.append(b"two\n")
    file.append(b"two\n", in_head=True)
    (tmp_path / "np.log").rename(tmp_path / "old")
    said.append(b"three\n")
    file.append(b"three\n", in_head=True)

    assert (tmp_path / "old").read_bytes() == b"one\ntwo\n"
    assert (tmp_path / "np.log").read_bytes() == b"one\ntwo\nthree\n"


def test_too_many_and_too_old_ones_go_and_all_but_the_newest_are_compressed(tmp_path: Path):
    file = LogFile(tmp_path / "np.log", limits(size_bytes=11, backups=3, age_s=3600, compress=True))
    for number in range(6):
        file.append(b"%010d\n" % number)
    file.tidy()

    kept = full(tmp_path)
    assert [path.suffix for path in kept] == [".gz", ".gz", ".log"]
    assert [gzip.decompress(path.read_bytes()) for path in kept[:2]] == [b"0000000002\n", b"0000000003\n"]
    assert kept[2].read_bytes() == b"0000000004\n"

    os.utime(kept[0], (time.time() - 7200,) * 2)
    file.tidy()
    assert full(tmp_path) == kept[1:]
