"""`python -m sluice.contracts.publish`: write proto/, or check that it matches the structs.

--write refuses a change that would break subscribers, unless --break is given.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from sluice.contracts.published import breaking, documents

PROTO = Path("proto")


def stored(folder: Path) -> dict[str, str]:
    """Read the documents in the folder, by path."""
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.json"))}


def write(folder: Path, wanted: Mapping[str, str]) -> None:
    """Make the folder hold exactly these documents."""
    for path in stored(folder).keys() - wanted.keys():
        (folder / path).unlink()
    for path, text in wanted.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if all is well, 1 if proto/ is out of date or subscribers would break."""
    parser = argparse.ArgumentParser(prog="sluice.contracts.publish", description="The published contract in proto/.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--write", action="store_true", help="make proto/ say what the structs say")
    what.add_argument("--check", action="store_true", help="fail if it does not, or if a subscriber would break")
    parser.add_argument("--break", dest="breaks", action="store_true", help="write although a subscriber breaks")
    parser.add_argument("--folder", type=Path, default=PROTO)
    parser.add_argument("--since", type=Path, help="an older proto/ to compare with, instead of the folder itself")
    chosen = parser.parse_args(arguments)
    held, made = stored(chosen.folder), documents()
    broken = breaking(held if chosen.since is None else stored(chosen.since), made)
    for line in broken:
        print(f"breaks subscribers: {line}", file=sys.stderr)
    if chosen.check:
        for path in sorted(held.keys() | made.keys()):
            if held.get(path) != made.get(path):
                print(f"{chosen.folder / path}: not what the structs say; run ./task proto", file=sys.stderr)
        return 1 if broken or held != made else 0
    if broken and not chosen.breaks:
        print("nothing written; keep the old form beside the new one, or say --break", file=sys.stderr)
        return 1
    write(chosen.folder, made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
