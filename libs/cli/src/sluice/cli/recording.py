"""Ledgers in files, for `sluice ledger`: plain, or gzip if the name says so."""

import contextlib
import gzip
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

GZIP = ".gz"


@contextlib.contextmanager
def written(file: Path) -> Iterator[BinaryIO]:
    """The file is created only on success; after an error there is no file."""
    if str(file) == "-":
        yield sys.stdout.buffer
        sys.stdout.flush()
        return
    new = file.with_name(f".{file.name}.new")
    try:
        with cast("BinaryIO", gzip.open(new, "wb") if file.suffix == GZIP else new.open("wb")) as opened:  # both are
            yield opened
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)


@contextlib.contextmanager
def read(file: Path) -> Iterator[Any]:  # Any: a Record, which is imported lazily
    """The records of the file, from its beginning.

    Raises:
        BadRecord, OSError
    """
    from sluice.ledger.record import BadRecord, Record

    try:
        with gzip.open(file, "rb") if file.suffix == GZIP else file.open("rb") as lines:
            yield Record(lines)
    except (EOFError, gzip.BadGzipFile) as error:
        raise BadRecord(f"{file}: {error}: the file is cut off, or is not gzip") from error
