"""The layer 7 part of a rule: `l7Protocols`.

Source: Antrea, docs "Antrea Layer 7 NetworkPolicy"; RFC 9110, section 9 (methods), RFC 3986 (URIs are ASCII), RFC 6066,
section 3 (names in TLS are ASCII).
"""

import re
from collections.abc import Iterator

from sluice.admission.refusal import Caution, Refusal
from sluice.contracts import jsonpath
from sluice.contracts.antrea import AntreaRule, HttpProtocol, L7Protocol, TlsProtocol

METHODS = ("GET", "POST", "PUT", "HEAD", "DELETE", "TRACE", "OPTIONS", "CONNECT", "PATCH")

MAX_NAME = 253
"""Characters in a host name (RFC 1123)."""

MAX_PATH = 2048
"""Characters in a path; nothing that parses requests matches longer ones as a whole."""


_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")


def refusals(rule: AntreaRule, path: str) -> Iterator[Refusal]:
    given = rule.l7_protocols
    if not given:
        return
    if rule.action != "Allow":
        reason = (
            f"{rule.action} is not possible with l7Protocols: a request comes only after its connection was allowed; "
            "use Allow"
        )
        yield Refusal(f"{path}.action", reason)
    for index, protocol in enumerate(given):
        yield from _of_protocol(protocol, jsonpath.item(f"{path}.l7Protocols", index))
    if not any(protocol.http is not None for protocol in given):
        return
    for index, port in enumerate(rule.ports):
        if port.protocol != "TCP":
            reason = f"HTTP runs over TCP, not {port.protocol}; write TCP, or another rule"
            yield Refusal(f"{jsonpath.item(f'{path}.ports', index)}.protocol", reason)
    if rule.protocols:
        yield Refusal(
            f"{path}.protocols", "HTTP runs over TCP, but these protocols do not; write another rule for them"
        )


def cautions(rule: AntreaRule, path: str) -> Iterator[Caution]:
    given = rule.l7_protocols
    for index, protocol in enumerate(given):
        if protocol.http is not None:
            yield from _doubts_of_path(protocol.http.path, f"{jsonpath.item(f'{path}.l7Protocols', index)}.http.path")
    # TLS without HTTP: Antrea accepts any transport, but only TCP works.
    if not given or any(protocol.http is not None for protocol in given):
        return
    for index, port in enumerate(rule.ports):
        if port.protocol != "TCP":
            reason = f"TLS is recognised only over TCP, not {port.protocol}, so this port allows nothing; write TCP"
            yield Caution(f"{jsonpath.item(f'{path}.ports', index)}.protocol", reason)
    if rule.protocols:
        yield Caution(
            f"{path}.protocols", "TLS is recognised only over TCP, so these protocols allow nothing; remove them"
        )


def _of_protocol(protocol: L7Protocol, path: str) -> Iterator[Refusal]:
    match protocol.http, protocol.tls:
        case None, None:
            yield Refusal(path, "has no protocol; write http: {} or tls: {} for any request, or remove the entry")
        case HttpProtocol(), TlsProtocol():
            yield Refusal(path, "http and tls in one entry, but no request is both; write two entries")
        case _:
            pass
    if (http := protocol.http) is not None:
        if http.method and http.method not in METHODS:
            same = [method for method in METHODS if method == http.method.upper()]
            mend = same[0] if same else f"one of {', '.join(METHODS)}"
            reason = f'"{http.method}" is not an HTTP method; write {mend}'
            yield Refusal(f"{path}.http.method", reason)
        yield from _of_name(http.host, f"{path}.http.host")
        yield from _of_path(http.path, f"{path}.http.path")
        if ":" in http.host.removeprefix("*") and not http.host.startswith("["):
            yield Refusal(
                f"{path}.http.host",
                f'"{http.host}" has a port, but only the host name is compared; give the port in ports instead',
            )
    if (tls := protocol.tls) is not None:
        yield from _of_name(tls.sni, f"{path}.tls.sni")


def _of_name(text: str, path: str) -> Iterator[Refusal]:
    if len(text) > MAX_NAME:
        yield _too_long(text, MAX_NAME, path)
    elif not text.isascii() or not text.isprintable() or " " in text:
        yield Refusal(
            path, f'"{text}" cannot be a host name; use ASCII without spaces, and write other letters as xn--'
        )


def _of_path(text: str, path: str) -> Iterator[Refusal]:
    """Paths are compared after decoding; no entry with a path allows those that are then not ASCII."""
    if len(text) > MAX_PATH:
        yield _too_long(text, MAX_PATH, path)
    elif not text.isascii() or not text.isprintable():
        reason = (
            f'"{text}" has characters other than printable ASCII, which are not compared; use ASCII, or leave the '
            "path out"
        )
        yield Refusal(path, reason)


def _too_long(text: str, longest: int, path: str) -> Refusal:
    return Refusal(path, f"{len(text)} characters, but at most {longest} are compared; shorten it with a *")


def _doubts_of_path(text: str, path: str) -> Iterator[Caution]:
    if found := [one for one in "?#\\" if one in text]:
        reason = (
            f'"{text}" matches nothing, because the path that is compared never contains {found[0]}; write only what '
            "comes before it"
        )
        yield Caution(path, reason)
    if _ENCODED.search(text):
        yield Caution(path, f'"{text}" is compared with the path after percent-decoding; write the character itself')
