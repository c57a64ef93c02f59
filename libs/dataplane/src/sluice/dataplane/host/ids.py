"""Names of a rule in the kernel: of its counter, the prefix of its log lines, the start of its comments."""

from hashlib import sha256
from typing import NamedTuple

from sluice.contracts.ids import Unit
from sluice.contracts.programs import Direction

LONGEST_COMMENT = 127
"""Source: nftables include/rule.h, NFTNL_UDATA_COMMENT_MAXLEN (128, with the NUL)."""


class RuleKey(NamedTuple):
    """A rule of a policy."""

    unit: Unit
    direction: Direction
    rule: int
    """Its index in the policy's list of the direction."""


def rule_id(key: RuleKey) -> str:
    """The same on every node and for good: who finds it in a kernel can ask any node-host whose it is."""
    return "r" + sha256(f"{key.unit} {key.direction} {key.rule}".encode()).hexdigest()[:16]


def comment(key: RuleKey) -> str:
    """The id, and in words what fits of the rest."""
    return f"{rule_id(key)} {key.unit} {key.direction} {key.rule}"[:LONGEST_COMMENT]


def id_of(comment: str) -> str:
    """The id that a comment begins with; empty if it is none of a rule."""
    word = comment.partition(" ")[0]
    return word if len(word) == 17 and word.startswith("r") and all(c in "0123456789abcdef" for c in word[1:]) else ""
