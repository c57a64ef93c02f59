"""Golden files: expected text that is checked in and changes together with the behaviour.

    SLUICE_UPDATE_GOLDEN=1 .venv/bin/pytest libs/dataplane

rewrites them; review the difference before you commit it.
"""

import os
from difflib import unified_diff
from pathlib import Path

UPDATE = "SLUICE_UPDATE_GOLDEN"


def check(path: Path, text: str) -> None:
    """Check that the file contains exactly this text.

    Raises:
        AssertionError: it does not; the message has the difference, and how to accept it.
    """
    if os.environ.get(UPDATE) == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    known = path.read_text(encoding="utf-8") if path.exists() else ""
    difference = "".join(unified_diff(known.splitlines(True), text.splitlines(True), str(path), "now"))
    assert text == known, f"{path} differs; {UPDATE}=1 accepts it:\n{difference}"
