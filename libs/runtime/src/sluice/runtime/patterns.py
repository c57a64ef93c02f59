"""Subject patterns: `*` matches one token, a final `>` one or more."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import product


def covers(pattern: str, subject: str) -> bool:
    """Whether the pattern matches the subject."""
    if "*" not in pattern:
        return subject.startswith(pattern[:-1]) if pattern.endswith(".>") else pattern in (subject, ">")
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted = wanted[:-1]
        if len(tokens) <= len(wanted):
            return False
        tokens = tokens[: len(wanted)]
    return len(wanted) == len(tokens) and all(w in ("*", t) for w, t in zip(wanted, tokens, strict=True))


@lru_cache(maxsize=64)
def _masks(length: int) -> tuple[tuple[bool, ...], ...]:
    return tuple(product((False, True), repeat=length))


def covering(subject: str) -> Iterator[str]:
    """Every pattern that covers the subject, the subject itself first: at most 31 for its four tokens.

    For finding which of many patterns cover a subject, where testing each would cost as many tests as there are
    patterns.
    """
    tokens = subject.split(".")
    for mask in _masks(len(tokens)):
        yield ".".join("*" if wild else token for wild, token in zip(mask, tokens, strict=True))
    for length in range(len(tokens)):
        for mask in _masks(length):
            yield ".".join([*("*" if wild else token for wild, token in zip(mask, tokens, strict=False)), ">"])
