"""The meaning of a plain word in YAML 1.1, as far as Kubernetes' own loader agrees.

`yes` is a boolean, `0x11` is 17, `010` is 8 and `1_000` is 1000, as in PyYAML's SafeLoader. Base 60 is left out on
purpose: `2:3:4:5:6:7:8:9` is an address and `10:30` a slip, never a number.
"""

import math
import re

from sluice.kube.nodes import INTEGERS, Malformed, Reading, Scalar

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_TRUE = frozenset(("yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
_FALSE = frozenset(("no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))

# https://yaml.org/type/int.html, float.html and timestamp.html, without base 60; floats need their dot, as in PyYAML.
_INTEGER = re.compile(r"([-+]?)(?:0b([01_]+)|0x([0-9a-fA-F_]+)|(0[0-7_]+)|(0|[1-9][0-9_]*))")
_NUMBER = re.compile(r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+][0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_TIMESTAMP = re.compile(
    r"\d{4}-\d\d-\d\d|\d{4}-\d\d?-\d\d?(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?(?:[ \t]*(?:Z|[-+]\d\d?(?::\d\d)?))?",
    re.ASCII,
)


def text(line: int, written: str) -> Scalar:
    """The scalar for text, whatever it looks like.

    Raises:
        Malformed: it contains half of a surrogate pair, which UTF-8 cannot encode.
    """
    if not written.isascii():
        try:
            written.encode()
        except UnicodeEncodeError as error:
            raise Malformed(
                line, f"the text holds {written[error.start]!a}, half a character; write it whole"
            ) from error
    return Scalar(line, Reading.TEXT, written, written)


def integer(line: int, written: str, value: int) -> Scalar:
    """The scalar for an integer.

    Raises:
        Malformed: a message cannot carry it.
    """
    if value not in INTEGERS:
        raise Malformed(line, f"{shortened(written)} is out of range for an integer of 64 bits; quote it if it is text")
    return Scalar(line, Reading.INTEGER, value, written)


def number(line: int, written: str, value: float) -> Scalar:
    """The scalar for a finite number.

    Raises:
        Malformed: it is infinite or not a number: JSON has neither.
    """
    if not math.isfinite(value):
        raise Malformed(line, f"{shortened(written)} is not a finite number; quote it if it is text")
    return Scalar(line, Reading.NUMBER, value, written)


def plain_word(line: int, written: str) -> Scalar:
    """The scalar for a word that is neither quoted nor tagged."""
    if written in _NULL:
        return Scalar(line, Reading.NULL, None, written)
    if written in _TRUE or written in _FALSE:
        return Scalar(line, Reading.BOOLEAN, written in _TRUE, written)
    if written[0] not in "+-.0123456789":
        return text(line, written)
    if (found := _INTEGER.fullmatch(written)) and (value := _integer(found)) is not None:
        return integer(line, written, value)
    if _NOT_FINITE.fullmatch(written):
        return number(line, written, math.nan)
    if _NUMBER.fullmatch(written):
        return number(line, written, float(written.replace("_", "")))
    if _TIMESTAMP.fullmatch(written):
        return Scalar(line, Reading.TIMESTAMP, written, written)
    return text(line, written)


def shortened(written: str) -> str:
    """The text, cut to 40 characters to fit a message."""
    return written if len(written) <= 40 else f"{written[:40]}…"


def _integer(found: re.Match[str]) -> int | None:
    """The number, or None if it has no digits (`0x_`)."""
    sign, binary, hexadecimal, octal, decimal = found.groups()
    for digits, base in ((binary, 2), (hexadecimal, 16), (octal, 8), (decimal, 10)):
        if bare := (digits or "").replace("_", ""):
            if len(bare) > 64:  # no 64-bit integer has more digits, and parsing a long one takes time
                return INTEGERS.stop
            return int(bare, base) * (-1 if sign == "-" else 1)
    return None
