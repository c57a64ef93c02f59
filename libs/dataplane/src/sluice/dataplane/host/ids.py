"""A rule's names in the kernel: of its counter, as the prefix of its log lines, at the start of its comments."""

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
    """Index in the policy's list for the direction."""


def rule_id(key: RuleKey) -> str:
    """The same on every node and forever: whoever finds it in a kernel can ask any node-host which rule it is."""
    return "r" + sha256(f"{key.unit} {key.direction} {key.rule}".encode()).hexdigest()[:16]


def comment(key: RuleKey) -> str:
    """The id, and in words as much of the rest as fits."""
    return f"{rule_id(key)} {key.unit} {key.direction} {key.rule}"[:LONGEST_COMMENT]


def id_of(comment: str) -> str:
    """The id at the start of a comment; empty if the comment is not a rule's."""
    word = comment.partition(" ")[0]
    return word if len(word) == 17 and word.startswith("r") and all(c in "0123456789abcdef" for c in word[1:]) else ""
