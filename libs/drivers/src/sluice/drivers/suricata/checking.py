"""Checks whether the engine can load rule files, before a tenant gets them.

A running engine answers OK for a tenant whose file is missing, empty or invalid, and then passes the traffic it should
inspect (measured, Suricata 7.0.10). So every file is checked before the engine gets it.
"""

import asyncio
import re
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from sluice.dataplane.l7.engine import CHECK_TEXT

K = TypeVar("K")

CHECK_TIMEOUT_S = 30.0
"""A check takes 0.1 to 0.2 s on an idle machine, one of MOST files 0.35 s."""

MOST = 128
"""Files per check: a single file costs 0.09 s of CPU, each file of such a batch 0.003 s."""

_SID = re.compile(r"\bsid:\d+;\)$")


class RulesRefused(Exception):
    """The engine cannot load the rules; the message says which ones and why."""


async def refusals(texts: Mapping[K, str], *, program: str = "suricata") -> dict[K, str]:
    """The rule files (at most MOST) that the engine cannot load, and why. Each should contain at least one rule.

    They are checked as one file, with rules renumbered uniquely, since rule files do not refer to each other. If the
    engine refuses that, each file is checked by itself.
    """
    assert len(texts) <= MOST, len(texts)
    if len(texts) > 1 and all(map(_rules, texts.values())):
        try:
            await check_rules(_together(texts.values()), program=program)
        except RulesRefused:
            pass  # the loop below finds out which file it is
        else:
            return {}
    refused: dict[K, str] = {}
    for key, text in texts.items():
        try:
            await check_rules(text, program=program)
        except RulesRefused as error:
            refused[key] = str(error)
    return refused


def _rules(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def _together(texts: Iterable[str]) -> str:
    numbers = count(1)
    lines = (line for text in texts for line in _rules(text))
    return "".join(f"{_SID.sub(f'sid:{next(numbers)};)', line)}\n" for line in lines)


async def check_rules(text: str, *, program: str = "suricata") -> None:
    """Check that the engine loads every rule of the text, which has at least one.

    Raises:
        RulesRefused: it does not, or the engine could not be run.
    """
    if not _rules(text):
        raise RulesRefused("it contains no rule, so the engine would allow everything")
    with TemporaryDirectory(prefix="sluice-l7-") as folder:
        rules, configuration = Path(folder, "check.rules"), Path(folder, "check.yaml")
        rules.write_text(text)
        configuration.write_text(CHECK_TEXT)
        words = (program, "-T", "-c", str(configuration), "-S", str(rules), "-l", folder)
        try:
            process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        except OSError as error:
            raise RulesRefused(f"{program} cannot be run: {error}") from error
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                printed, _ = await process.communicate()
        except TimeoutError as error:
            raise RulesRefused(f"{program} -T: no answer in {CHECK_TIMEOUT_S:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode:
        said = [line for line in printed.decode(errors="replace").splitlines() if line.startswith("E:")]
        raise RulesRefused("; ".join(said) or f"{program} -T: exit code {process.returncode}")
