"""Whether the engine can load a rule file, asked before a tenant has it.

A running engine says OK to a tenant whose file is missing, empty or wrong, and then passes what it should look at
(measured, Suricata 7.0.10). So nothing gets to it that was not checked.
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from sluice.dataplane.l7.engine import CHECK_TEXT

CHECK_TIMEOUT_S = 30.0
"""A check takes 0.1 to 0.2 s on an idle machine."""


class RulesRefused(Exception):
    """The engine cannot load the rules; the message says which and why."""


async def check_rules(text: str, *, program: str = "suricata") -> None:
    """Return if the engine loads every rule of the text, of which there is at least one.

    Raises:
        RulesRefused: it does not, or could not be asked.
    """
    expected = sum(1 for line in text.splitlines() if line.strip())
    if not expected:
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
