"""Our table in the kernel, through nft(8) and the JSON of libnftables.

A call blocks for as long as the kernel takes, ten milliseconds and more; do not make it on an event loop.
"""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sluice.dataplane.host import wire
from sluice.dataplane.host.table import FAMILY, NAME
from sluice.dataplane.host.wire import Held, Json
from sluice.drivers import namespaces

NFT = "nft"

TIMEOUT_S = 60.0
"""A transaction of ten thousand elements takes less than a second."""


class NoNft(Exception):
    """There is no nft(8); the message says what to do."""


class Refused(Exception):
    """nft(8) or the kernel refused the transaction, of which nothing was done; the message is theirs."""


class Tables:
    """The tables of one network namespace."""

    def __init__(self, netns: Path | None = None) -> None:
        """`netns`: None means the current one."""
        self._netns = netns
        self.ours: set[int] = set()
        """Ids of the processes that made changes for us."""

    def read(self) -> Held:
        """The contents of our table.

        Raises:
            NoNft, Refused
        """
        listing = self._run("--json", "--numeric", "list", "tables")
        if not any((one["family"], one["name"]) == (FAMILY, NAME) for one in _of(listing, "table")):
            return wire.NOT_THERE
        try:
            return wire.read(self._run("--json", "--numeric", "list", "table", FAMILY, NAME))
        except Refused:
            return wire.NOT_THERE  # deleted meanwhile

    def apply(self, commands: Iterable[Json]) -> None:
        """Apply all commands in one transaction, or none.

        Raises:
            NoNft, Refused
        """
        commands = list(commands)
        if commands:
            self._run("--json", "--file", "-", given=json.dumps({"nftables": commands}))

    def counts(self) -> dict[str, tuple[int, int]]:
        """Packets and bytes of each of our counters; empty if there is no table.

        Raises:
            NoNft, Refused
        """
        try:
            return wire.counts(self._run("--json", "list", "counters", "table", FAMILY, NAME))
        except Refused:
            return {}

    def remove(self) -> bool:
        """Remove our table, whichever process made it; returns whether there was one.

        Raises:
            NoNft, Refused
        """
        if not self.read().is_there:
            return False
        self.apply([{"delete": wire.THE_TABLE}])
        return True

    def _run(self, *words: str, given: str = "") -> Json:
        def run() -> tuple[int, str, str]:
            with subprocess.Popen(
                [NFT, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process:
                self.ours.add(process.pid)
                try:
                    said, error = process.communicate(given, timeout=TIMEOUT_S)
                except subprocess.TimeoutExpired as late:
                    process.kill()
                    raise Refused(f"nft {' '.join(words)}: no answer within {TIMEOUT_S:g} s") from late
                return process.returncode, said, error

        try:
            code, said, error = namespaces.inside(self._netns, run)
        except FileNotFoundError as missing:
            raise NoNft(f"{missing.filename}: not there; install the package nftables") from missing
        if code:
            raise Refused(f"nft {' '.join(words)}: {' '.join(error.split())}")
        answer: Json = json.loads(said) if said.strip() else {}
        return answer


def _of(listing: Json, kind: str) -> list[dict[str, Any]]:
    return [entry[kind] for entry in listing.get("nftables", ()) if kind in entry]
