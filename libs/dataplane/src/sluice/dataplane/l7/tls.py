"""TLS entries: a handshake is judged when its ClientHello is complete, and again after each reload.

One signature per entry records that the server name matches; two reject if none did. The first of these runs once, at
the complete ClientHello, before it reaches the server. The second runs on open connections: a reload forgets the
record, and the engine, which still knows the name, makes it again for the current entries.
"""

from collections.abc import Iterator, Sequence

from sluice.contracts.l7 import TlsMatch
from sluice.dataplane.l7.flowbits import NAMED
from sluice.dataplane.l7.signature import Does, Signature
from sluice.dataplane.l7.wildcard import regex
from sluice.policy.l7 import pattern

_TO_SERVER = "flow:to_server,established"

HELLO = ("ja3.string", 'content:","', "fast_pattern")
"""Matches once the ClientHello is complete, and never before, with or without a server name: its JA3 text has commas,
and the fast pattern keeps the rule from being evaluated earlier, when it would see the flow bit unset and never be
evaluated again. The engine must compute JA3: `ja3-fingerprints: yes`."""

ANSWERED = ("stream_size:server,>,1", "tls.random", "bsize:32")
"""Matches connections that the server has answered: their ClientHello was judged before."""


def signatures(entries: Sequence[TlsMatch], message: str, sid: int) -> Iterator[Signature]:
    """The signatures that judge handshakes; none if an entry allows all handshakes.

    Args:
        sid: sid of the signature that rejects a ClientHello.
    """
    if any(not entry.sni or pattern(entry.sni).matches_all for entry in entries):
        return
    for place, entry in enumerate(entries):
        name = regex(pattern(entry.sni), ".*")
        yield Signature(
            sid=1_000 + place,
            does=Does.NOTE,
            protocol="tls",
            options=(_TO_SERVER, "tls.sni", rf'pcre:"/^{name}\z/is"', f"flowbits:set,{NAMED}"),
            priority=1,
        )
    for number, gate in ((sid, HELLO), (700_002, ANSWERED)):
        yield Signature(
            sid=number,
            does=Does.REJECT,
            protocol="tls",
            options=(_TO_SERVER, *gate, f"flowbits:isnotset,{NAMED}"),
            priority=3,
            message=message,
        )
