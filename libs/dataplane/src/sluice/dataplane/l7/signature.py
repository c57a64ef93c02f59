"""One line of a Suricata rule file, and how text from users is escaped in it.

User text never becomes rule syntax: every byte except letters, digits and those in `_PLAIN` is written as its number,
between bars in `content` and as an escape in `pcre`.
"""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from sluice.dataplane.l7.events import LOGGED

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-~=&%+@!*(), ")
"""Bytes that `content` takes literally; `"`, `;`, `:`, `\\` and `|` have a meaning there. Source: Suricata user guide,
"payload keywords", content."""

_ALNUM = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


class Does(StrEnum):
    """The action on a packet that matches; evaluated in this order (`action-order` in the engine's configuration)."""

    NOTE = "alert"
    """No action: it sets or clears a flow bit."""

    PASS = "pass"
    """The rest of the connection is not inspected."""

    DROP = "drop"
    REJECT = "rejectboth"
    """The packet is dropped, and both ends get a TCP reset."""


class Signature(Struct, frozen=True, kw_only=True):
    """One rule. Its options are written in this order, since buffers and flow bits depend on it."""

    sid: int
    """Unique in the rule set; equal rule sets have equal sids."""

    does: Does
    protocol: str
    options: tuple[str, ...]
    priority: int
    """Among signatures with the same action, lower ones are evaluated first. 1..255."""

    message: str = ""
    """Shown by alerts; empty for signatures that only set or clear flow bits."""

    logged: bool = False
    """Keep what it denies in the event log."""

    def line(self) -> str:
        """The rule as Suricata reads it, without a line end."""
        said = [f'msg:"{quoted(self.message)}"'] if self.message else []
        said += [f"metadata:{LOGGED} {LOGGED}"] if self.logged else []
        said += self.options
        if self.does is Does.NOTE:
            said.append("noalert")
        said += [f"priority:{self.priority}", f"sid:{self.sid}"]
        return f"{self.does} {self.protocol} any any -> any any ({' '.join(f'{one};' for one in said)})"


def write(signatures: Iterable[Signature]) -> str:
    """The rule file: one signature per line."""
    return "".join(f"{one.line()}\n" for one in signatures)


def content(text: str) -> str:
    """The `content` option for exactly this text, which must not be empty."""
    assert text, "an empty content is an error for the engine"
    return f'content:"{_hexed(text)}"'


def _hexed(text: str) -> str:
    out: list[str] = []
    numbers: list[str] = []
    for byte in text.encode():
        if byte in _PLAIN:
            if numbers:
                out.append(f"|{' '.join(numbers)}|")
                numbers = []
            out.append(chr(byte))
        else:
            numbers.append(f"{byte:02x}")
    if numbers:
        out.append(f"|{' '.join(numbers)}|")
    return "".join(out)


def literal(text: str) -> str:
    """A regular expression that matches exactly this text."""
    return "".join(chr(byte) if byte in _ALNUM else f"\\x{byte:02x}" for byte in text.encode())


def quoted(text: str) -> str:
    """The text as a `msg`: printable ASCII, without characters that would end it.

    Names that Kubernetes admits contain none of these, but this does not rely on it.
    """
    return "".join(one if one.isascii() and one.isprintable() and one not in '";\\|' else "_" for one in text)
