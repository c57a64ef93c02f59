"""Paths of fields in a document, for people: $.spec.ingress[0].from[1].ipBlock.cidr.

A key that is not a plain word is quoted: $.metadata.labels['app.kubernetes.io/name'].
"""

import re

ROOT = "$"

_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_STEP = re.compile(r"\.([A-Za-z_][A-Za-z0-9_-]*)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]", re.DOTALL)


def field(path: str, key: str) -> str:
    """The path of an entry of a map."""
    if _WORD.fullmatch(key):
        return f"{path}.{key}"
    quoted = key.replace("\\", "\\\\").replace("'", "\\'")
    return f"{path}['{quoted}']"


def item(path: str, index: int) -> str:
    """The path of an item of a list, by its 0-based index."""
    return f"{path}[{index}]"


def steps(path: str) -> tuple[str | int, ...]:
    """Keys and indexes from the root to the field; the exact inverse of `field` and `item`.

    Raises:
        ValueError: it is not such a path.
    """
    found: list[str | int] = []
    at = len(ROOT)
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            break
        word, index, quoted = step.groups()
        found.append(int(index) if index else word or re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL))
        at = step.end()
    if not path.startswith(ROOT) or at < len(path):
        raise ValueError(f"{path}: not a path of fields; one looks like $.spec.ports[0]['a.b']")
    return tuple(found)
