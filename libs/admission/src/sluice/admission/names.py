"""Names and labels as the API server accepts them. Each function returns what is wrong, or None.

Source: Kubernetes, apimachinery/pkg/util/validation (IsDNS1123Label, IsDNS1123Subdomain, IsQualifiedName,
IsValidLabelValue, IsValidPortName) and docs "Object Names and IDs".
"""

import re
from collections.abc import Iterator, Mapping

from sluice.admission.refusal import Refusal
from sluice.contracts import jsonpath

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_DNS_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_WORD = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_PORT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_FQDN = re.compile(r"[-0-9a-zA-Z.*]+")

MAX_LABEL = 63
"""Characters in a DNS label, a label's value and the name in its key (RFC 1123; Kubernetes)."""

MAX_SUBDOMAIN = 253
MAX_PORT_NAME = 15
"""Characters in a port's name (RFC 6335, section 5.1)."""


def dns_label(text: str) -> str | None:
    if len(text) <= MAX_LABEL and _DNS_LABEL.fullmatch(text):
        return None
    return f'"{text}" is not a DNS label; use a-z, 0-9 and - inside, at most {MAX_LABEL} characters'


def dns_subdomain(text: str) -> str | None:
    if len(text) <= MAX_SUBDOMAIN and _DNS_SUBDOMAIN.fullmatch(text):
        return None
    return f'"{text}" is not a DNS name; use a-z, 0-9, and - or . inside, at most {MAX_SUBDOMAIN} characters'


def port_name(text: str) -> str | None:
    if text.isascii() and text.isdigit():
        return f'"{text}" is a number in quotes, which counts as a port name; write it without quotes'
    letter = any("a" <= char <= "z" for char in text)
    if letter and len(text) <= MAX_PORT_NAME and _PORT_NAME.fullmatch(text) and "--" not in text:
        return None
    return (
        f'"{text}" is not a port name; use a-z, 0-9 and single - inside, with a letter, '
        f"at most {MAX_PORT_NAME} characters"
    )


def label_key(text: str) -> str | None:
    """The key is a name, or prefix/name."""
    prefix, slash, name = text.rpartition("/")
    if slash and (reason := dns_subdomain(prefix)):
        return f'the prefix of the key "{text}" is wrong: {reason}'
    if len(name) <= MAX_LABEL and _WORD.fullmatch(name):
        return None
    return (
        f'"{text}" is not a label key; use letters, digits, and - _ . inside, at most {MAX_LABEL} characters, '
        "perhaps after a DNS name and /"
    )


def label_value(text: str) -> str | None:
    if not text or (len(text) <= MAX_LABEL and _WORD.fullmatch(text)):
        return None
    return f'"{text}" is not a label value; use letters, digits, and - _ . inside, at most {MAX_LABEL} characters'


def uid(text: str) -> str | None:
    """Kubernetes makes UUIDs. A manifest may use any other word that is safe in all texts of ours."""
    if not text or (len(text) <= MAX_SUBDOMAIN and _WORD.fullmatch(text)):
        return None
    return f'"{text}" is not a UID; use a UUID, or remove it, and one is generated'


def labels(given: Mapping[str, str], path: str) -> Iterator[Refusal]:
    """What is wrong with a map of labels, or with matchLabels."""
    for key, value in sorted(given.items()):
        for reason in (label_key(key), label_value(value)):
            if reason:
                yield Refusal(jsonpath.field(path, key), reason)


def fqdn_pattern(text: str) -> str | None:
    """A domain name in which * matches any characters. Source of the characters: Antrea, validate.go."""
    if len(text) <= MAX_SUBDOMAIN and _FQDN.fullmatch(text) and ".." not in text and text.strip("."):
        return None
    return (
        f'"{text}" is not a domain name; use letters, digits, and - . inside, and * for any characters, '
        f"at most {MAX_SUBDOMAIN} characters"
    )
