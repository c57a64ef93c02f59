"""A service's settings: one frozen struct, read from the environment; unknown names are refused."""

import os
import re
from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta

from sluice.contracts.streams import MAX_BYTES

S = TypeVar("S", bound=msgspec.Struct)


_NOT_FILLED_IN = re.compile(r"\$\(\w+\)")
"""Kubernetes leaves a reference to a variable like this if no variable has that name."""


class ConfigError(ValueError):
    """The environment is invalid; the message names the variables."""


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings that every service reads from its environment. One variable per field: prefix and field name."""

    nats_url: str = "nats://localhost:4222"

    nats_keys: str = ""
    """Folder with the credentials of this service for NATS, as `sluice admin keys` creates it: the seed of its NKEY in
    `seed`, the trusted authorities in `ca.crt`, and optionally a certificate in `tls.crt` and `tls.key`. They are read
    anew for each connection. Unset: the bus is unencrypted and grants everyone everything."""

    nats_server_name: str = ""
    """Name that the certificate of NATS must have; unset: the host in `nats_url`. For a URL with an IP address, which
    needs no DNS, but is in no certificate."""

    log_level: str = "info"

    health_port: Annotated[int, Meta(ge=-1, le=65_535)] = 0
    """TCP port on `health_host` for /livez, /readyz and /metrics. 0 picks a free one and logs it; -1 disables it."""

    health_host: str = "127.0.0.1"

    stream_max_bytes: Annotated[int, Meta(ge=1 << 20)] = MAX_BYTES
    """Bytes that one stream may hold. Messages beyond that are refused, and reported."""

    stream_replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    """Number of servers that keep each stream; 3 survives the loss of one."""


def load(kind: type[S], prefix: str, environ: Mapping[str, str] = os.environ) -> S:
    """Read the settings from the variables with this prefix.

    Raises:
        ConfigError: a value does not convert, or a variable matches no field or references a variable that does not
            exist.
    """
    own = {name: text for name, text in environ.items() if name.startswith(prefix)}
    for name, text in own.items():
        if found := _NOT_FILLED_IN.search(text):
            raise ConfigError(
                f"{prefix}*: {name} is {text}, but {found[0]} has no value: its Kubernetes Service was created "
                "after this container; the next start of the container will have it"
            )
    raw = {name.removeprefix(prefix).lower(): text for name, text in own.items()}
    try:
        return msgspec.convert(raw, kind, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(prefix + field.upper() for field in kind.__struct_fields__)
        raise ConfigError(f"{prefix}*: {error}; known are {known}") from error
