"""P19: 10,000 filters into the kernel of a guest, by our netlink batches and by `tc -b`; and what one address costs.

In both guests, in turns: User-mode Linux is the one whose figures mean something beside a ratio.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench.figures import Figure, show
from tests.tc import measure

from sluice.lab.guest import qemu, uml
from sluice.lab.guest.guest import Guest

FILTERS = 10_000
ROUNDS = 3
TARGET = 2.0
ADDRESSES = (100, 1_000, 10_000)


def batches(guest: Guest, where: str, rounds: int) -> None:
    runs = [guest.call(measure.race, FILTERS) for _ in range(rounds)]
    ours, theirs = min(run["ours"] for run in runs), min(run["tc -b"] for run in runs)
    figure = Figure("P19", f"{FILTERS:,} filters in {where}", ours, "s", theirs / TARGET)
    detail = f"best of {rounds}: {FILTERS / ours:,.0f}/s; tc -b {theirs:.3g} s, {theirs / ours:.1f} times ours"
    show(figure, f"{detail}; read back in {min(run['read back'] for run in runs):.3g} s")


def changes(guest: Guest) -> None:
    for count in ADDRESSES:
        one = guest.call(measure.one_address, count)
        figure = Figure("P19", f"one address among {one.addresses:,} comes or goes (CPU)", one.mean_s * 1_000, "ms")
        show(figure, f"{one.messages} netlink messages, {one.filters:,} filters held, built in {one.whole_s:.3g} s")


def inside(boot: Callable[[Path], Guest], work: Callable[[Guest], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        guest = boot(Path(folder))
        try:
            work(guest)
        finally:
            guest.stop()


def in_user_mode(guest: Guest) -> None:
    batches(guest, "User-mode Linux", ROUNDS)
    changes(guest)


def main() -> None:
    inside(uml.boot, in_user_mode)
    inside(qemu.boot, lambda guest: batches(guest, "QEMU", 1))


if __name__ == "__main__":
    main()
