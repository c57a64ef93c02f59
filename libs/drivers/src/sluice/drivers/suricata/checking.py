"""Whether the engine can load rule files, asked before a tenant has them.

A running engine says OK to a tenant whose file is missing, empty or wrong, and then passes what it should look at
(measured, Suricata 7.0.10). So nothing gets to it that was not checked.
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
"""A check takes 0.1 to 0.2 s on an idle machine, and one of MOST files 0.35 s."""

MOST = 128
"""Files to check at once: 0.09 s of CPU for each by itself, 0.003 s for each of so many."""

_SID = re.compile(r"\bsid:\d+;\)$")


class RulesRefused(Exception):
    """The engine cannot load the rules; the message says which and why."""


async def refusals(texts: Mapping[K, str], *, program: str = "suricata") -> dict[K, str]:
    """Which of the rule files, at most MOST, the engine cannot load, and why. Each should hold at least one rule.

    They are checked as one, each rule with a number of its own, since a rule file says nothing of others; where the
    engine refuses that, each by itself.
    """
    assert len(texts) <= MOST, len(texts)
    if len(texts) > 1 and all(map(_rules, texts.values())):
        try:
            await check_rules(_together(texts.values()), program=program)
        except RulesRefused:
            pass  # which of them it is shows below
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
    """Return if the engine loads every rule of the text, of which there is at least one.

    Raises:
        RulesRefused: it does not, or could not be asked.
    """
    if not _rules(text):
        raise RulesRefused("there is no rule in it, which an engine would take for permission")
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
