"""The content of one tenant of the engine: the signatures for one rule's entries."""

from collections.abc import Sequence
from functools import cached_property
from hashlib import sha256

from msgspec import Struct
from msgspec.structs import replace

from sluice.contracts.l7 import HttpMatch, L7Match, TlsMatch
from sluice.dataplane.l7 import http, opening, tls
from sluice.dataplane.l7.signature import Does, Signature, content, write

DENIAL = "Reject by "
"""Message of the signatures that reject; the policy follows, as `AntreaNetworkPolicy:ns/name`."""

REJECTED_SID = 1
"""Sid of the signature that rejects a request, or a handshake if there can be no requests; alerts have the same as
Antrea's."""

HELLO_SID = 2
"""Sid of the signature that rejects a handshake if requests are rejected as well."""


class RuleSet(Struct, frozen=True, kw_only=True, dict=True):
    """The content of a tenant. Equal rule sets share one tenant."""

    rules: str

    @cached_property
    def digest(self) -> str:
        """Digest of the rules, 16 hexadecimal digits."""
        return sha256(self.rules.encode()).hexdigest()[:16]

    @property
    def text(self) -> str:
        """The tenant's rule file: the rules, and one for a probe packet that checks that exactly these are in force."""
        return self.rules + write((_proof(self.digest),))


def proof(digest: str) -> bytes:
    """The payload of a UDP packet that a tenant with this rule set drops. No other UDP packet ever reaches a tenant."""
    return b"sluice-l7-" + digest.encode()


CLOSED = RuleSet(
    rules=write(
        (
            Signature(
                sid=REJECTED_SID,
                does=Does.REJECT,
                protocol="tcp",
                options=("dsize:>0",),
                priority=3,
                message="Rejected: no rule asks for this connection any more",
            ),
            Signature(sid=HELLO_SID, does=Does.DROP, protocol="ip", options=("noalert",), priority=3),
        )
    )
)
"""For unused tenants: nothing passes. A VLAN without a tenant would let everything pass."""


def compile_rules(entries: Sequence[L7Match], *, policy: str, logged: bool = False) -> RuleSet:
    """The rule set that passes what one of the entries allows, and rejects everything else.

    Args:
        entries: those of one rule, at least one; their order is irrelevant.
        policy: as alerts name it, `AntreaNetworkPolicy:ns/name`.
        logged: write the packets of denials to the event log.
    """
    return RuleSet(rules=write(signatures(entries, message=DENIAL + policy, logged=logged)))


def signatures(entries: Sequence[L7Match], *, message: str, logged: bool = False) -> tuple[Signature, ...]:
    """The signatures of the rule set, in the order of its file."""
    assert entries, "a rule without entries has nothing to look at"
    requests = sorted(
        {one for one in entries if isinstance(one, HttpMatch)}, key=lambda one: (one.path, one.host, one.method)
    )
    hellos = sorted({one for one in entries if isinstance(one, TlsMatch)}, key=lambda one: one.sni)
    protocols = [*(["http"] if requests else []), *(["tls"] if hellos else [])]
    judged = bool(requests) and HttpMatch() not in requests
    found = (
        *opening.signatures(protocols, message),
        *(http.signatures(requests, message, REJECTED_SID) if requests else ()),
        *(tls.signatures(hellos, message, HELLO_SID if judged else REJECTED_SID) if hellos else ()),
    )
    return tuple(replace(one, logged=True) if one.does is Does.REJECT else one for one in found) if logged else found


def _proof(digest: str) -> Signature:
    return Signature(
        sid=960_001,
        does=Does.DROP,
        protocol="udp",
        options=(content(proof(digest).decode()), "noalert"),
        priority=3,
    )
