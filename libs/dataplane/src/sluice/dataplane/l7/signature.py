"""One line of a Suricata rule file, and how text from users is escaped in it.

User text never becomes rule syntax: every byte but letters, digits and those in `_PLAIN` is written as its number,
between bars in `content` and as an escape in `pcre`.
"""

from collections.abc import Iterable
from enum import StrEnum

from msgspec import Struct

from sluice.dataplane.l7.events import LOGGED

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-~=&%+@!*(), ")
"""Bytes that a `content` takes as they are; `"`, `;`, `:`, `\\` and `|` are its own.

Source: Suricata user guide, "payload keywords", content."""

_ALNUM = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")


class Does(StrEnum):
    """What happens to a packet that matches; the engine asks in this order (`action-order` in its configuration)."""

    NOTE = "alert"
    """Nothing: it sets or clears a flow bit."""

    PASS = "pass"
    """The rest of the connection is not looked at."""

    DROP = "drop"
    REJECT = "rejectboth"
    """The packet is dropped, and both ends get a TCP reset."""


class Signature(Struct, frozen=True, kw_only=True):
    """One rule. Its options are written in this order, since buffers and flow bits depend on it."""

    sid: int
    """Unique in the rule set; equal rule sets have equal ones."""

    does: Does
    protocol: str
    options: tuple[str, ...]
    priority: int
    """Of signatures that do the same, the lower one is asked first. 1..255."""

    message: str = ""
    """Shown by alerts; signatures that only note something have none."""

    logged: bool = False
    """What it denies is kept in the event log."""

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
    """The rule file: one signature a line."""
    return "".join(f"{one.line()}\n" for one in signatures)


def content(text: str) -> str:
    """The option `content` for exactly this text, which must not be empty."""
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
    """The text as a piece of a regular expression that matches just it."""
    return "".join(chr(byte) if byte in _ALNUM else f"\\x{byte:02x}" for byte in text.encode())


def quoted(text: str) -> str:
    """The text as a `msg`: printable ASCII, without what would end it.

    Names of objects that Kubernetes admits have none of these; this holds whoever made the name.
    """
    return "".join(one if one.isascii() and one.isprintable() and one not in '";\\|' else "_" for one in text)
