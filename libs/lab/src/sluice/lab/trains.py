"""How a step's packets are sent: again if one got lost, and together with receivers that count them.

Each packet of a train (a probe with several packets) is a question of its own; together they have one result.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice

from sluice.contracts.ids import Address
from sluice.lab.capture.counting import Count, Ends
from sluice.lab.checks import Question
from sluice.lab.lab import Lab
from sluice.lab.probers import TRY_S, Result
from sluice.lab.receiving import Receiver

ONCE_S = 1.5
"""How long an answer may take if each packet is sent once; without an answer, the full time is waited."""


AGAIN_S = 1.0
"""The time of each try when a packet is sent again; allows for the machine's load, not the network."""

CAPTURES = 3
"""How often a step with receivers is tried at most."""


async def ask(lab: Lab, questions: Sequence[Question], *, once: bool = False, try_s: float = TRY_S) -> list[Result]:
    """Send all packets at once; returns what became of them, in order.

    Args:
        once: send each packet once, so that receivers can count; the packets of a train always are.
        try_s: time per try of all other packets.
    """

    def counted(question: Question) -> bool:
        return once or question.packets > 1

    packets = [question for question in questions if counted(question) for _ in range(question.packets)]
    others = [question for question in questions if not counted(question)]
    answers = await asyncio.gather(lab.ask(packets, tries=1, try_s=ONCE_S), lab.ask(others, try_s=try_s))
    sent, asked = map(iter, answers)
    return [_one(list(islice(sent, each.packets))) if counted(each) else next(asked) for each in questions]


async def ask_again(lab: Lab, questions: Sequence[Question]) -> list[Result]:
    """Like `ask`, but packets that should have been answered and were not are sent again after all others.

    Under a burst the network loses packets, and more rejects at once than a switch can hand over are dropped; a policy
    that drops the first packet drops the second as well. What should not be answered is never sent again.
    """
    results = await ask(lab, questions)
    again = [at for at, each in enumerate(zip(questions, results, strict=True)) if lost(*each)]
    for at, result in zip(again, await ask(lab, [questions[at] for at in again], try_s=AGAIN_S), strict=True):
        results[at] = result
    return results


async def ask_and_count(
    lab: Lab, questions: Sequence[Question], asked: Sequence[tuple[Receiver, Ends]], names: Mapping[Address, str]
) -> tuple[list[Result], list[tuple[Count, str]]]:
    """Send all packets while receivers listen; returns results and counts, wrong counts with all that was received.

    Everything is repeated if a packet got lost on the way. Surplus frames of the first round are an error; in later
    rounds they may be late ones.
    """
    attempts = 0
    while True:
        attempts += 1
        async with lab.equipment.capture(asked) as capture:
            results = await ask(lab, questions, once=True)
            counts = await capture.counts()
        missing = any(map(lost, questions, results)) or any(each.short for each in counts)
        surplus = any(not each.ok and not each.short for each in counts)
        if attempts == CAPTURES or not (missing or surplus) or (surplus and attempts == 1):
            told = ("" if each.ok else f"it heard {capture.seen(each.wanted, names)}" for each in counts)
            return results, list(zip(counts, told, strict=True))


def lost(question: Question, result: Result) -> bool:
    """Whether a packet that should be answered was not; the network may have lost it, so it can be sent again."""
    missing = "Dropped", *(("Error",) if question.packets > 1 else ())
    return question.expect != "Dropped" and result.result in missing


def _one(results: Sequence[Result]) -> Result:
    """The common result of all, if there is one."""
    counts = Counter(result.result for result in results)
    if len(counts) == 1:
        return results[0]
    return Result("Error", ", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
