"""Generates the part of nats-server's configuration that says who may connect and what they may do."""

import json
from collections.abc import Iterable, Mapping, Sequence

from sluice.contracts.identities import (
    ANSWERS,
    JETSTREAM_API,
    OPERATOR,
    OWN_API,
    STREAMS_ACCOUNT,
    Grants,
    Identity,
    grants,
)

_SERVICES = (
    f"{JETSTREAM_API}.STREAM.>",
    f"{JETSTREAM_API}.CONSUMER.CREATE.>",
    f"{JETSTREAM_API}.DIRECT.GET.*.>",
    "$JS.FC.>",
    "$KV.>",
    "_INBOX.>",
    "actions.>",
    "audit.>",
    "groups.>",
    "ledger.>",
    "multicast.*",
    "objects.>",
    "programs.>",
    "stats.>",
    "status.>",
)
"""The exports of the streams' account that are requests, importable as services."""

_MANY_ANSWERS = (f"{JETSTREAM_API}.DIRECT.GET.*",)
"""Likewise, but each request gets many answers."""

_STREAMS = ("_INBOX.>", "_sluice.>", "live.>")
"""The exports of the streams' account that are importable as streams."""


def configuration(keys: Mapping[Identity, Iterable[str]]) -> str:
    """The accounts section, with a user for each of these public keys; an identity may have several keys.

    Raises:
        LookupError: there is no such service or person.
    """
    lines = ["accounts {", f"  {STREAMS_ACCOUNT} {{", "    jetstream: enabled", "    exports: ["]
    lines += [f"      {{service: {_quoted(subject)}}}" for subject in _SERVICES]
    lines += [f"      {{service: {_quoted(subject)}, response_type: stream}}" for subject in _MANY_ANSWERS]
    lines += [f"      {{stream: {_quoted(subject)}}}" for subject in _STREAMS]
    lines += ["    ]", *_users(grants(OPERATOR), keys.get(OPERATOR, ())), "  }"]
    served = [(one, subject) for one in sorted(keys) for subject in grants(one).serve]
    for identity in sorted(keys):
        if identity != OPERATOR:
            lines += _account(identity, keys[identity], served if grants(identity).asks_all else ())
    return "\n".join([*lines, "}", ""])


def _account(identity: Identity, keys: Iterable[str], asks: Sequence[tuple[Identity, str]]) -> list[str]:
    """One account. `asks`: the subjects that other identities serve and that this one may send requests to."""
    granted = grants(identity)
    consumes = any(".CONSUMER.CREATE." in subject for subject in granted.publish)
    # API answers stay within the account; messages of consumers are delivered from the streams' account.
    told = [subject for subject in granted.subscribe if consumes or not subject.startswith("_INBOX.")]
    there = f"account: {STREAMS_ACCOUNT}"
    return [
        f"  {_quoted(identity.text)} {{",
        *(f"    exports: [{{service: {_quoted(subject)}}}]" for subject in granted.serve),
        "    imports: [",
        *(
            f"      {{service: {{{there}, subject: {_quoted(subject)}}}, to: {_quoted(_here(subject))}}}"
            for subject in granted.publish
        ),
        *(f"      {{stream: {{{there}, subject: {_quoted(subject)}}}}}" for subject in told),
        *(f"      {{service: {{account: {_quoted(one.text)}, subject: {_quoted(subject)}}}}}" for one, subject in asks),
        "    ]",
        *_users(granted, keys, [subject for _, subject in asks]),
        "  }",
    ]


def _users(granted: Grants, keys: Iterable[str], asks: Iterable[str] = ()) -> list[str]:
    """Users whose permissions repeat the imports, so that what is not granted fails with an error, not silently."""
    answers = (ANSWERS,) if granted.serve else ()
    publish = ", ".join(_quoted(_here(subject)) for subject in (*granted.publish, *answers, *asks))
    subscribe = ", ".join(_quoted(subject) for subject in granted.subscribe)
    permissions = f"{{publish: {{allow: [{publish}]}}, subscribe: {{allow: [{subscribe}]}}}}"
    return [
        "    users: [",
        *(
            f'      {{nkey: {_quoted(key)}, allowed_connection_types: ["STANDARD"], permissions: {permissions}}}'
            for key in keys
        ),
        "    ]",
    ]


def _here(subject: str) -> str:
    """The subject as it is called in any account but the streams'."""
    return OWN_API + subject.removeprefix(JETSTREAM_API) if subject.startswith(JETSTREAM_API) else subject


def _quoted(text: str) -> str:
    return json.dumps(text)
