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
"""What Kubernetes leaves of a variable's text that names another one, where there is none of that name."""


class ConfigError(ValueError):
    """The environment is not what the service understands; the message names the variables."""


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every service reads from its environment. One field, one variable: its prefix and the field's name."""

    nats_url: str = "nats://localhost:4222"

    nats_keys: str = ""
    """Folder with what this service shows of itself to NATS, as `sluice admin keys` makes it: the seed of its NKEY in
    `seed`, the authorities that it believes in `ca.crt`, perhaps a certificate in `tls.crt` and `tls.key`. Each
    connection reads them anew. Unset: the bus lets everybody do everything, and is not encrypted."""

    nats_server_name: str = ""
    """The name that the certificate of NATS has to have; unset: the one in `nats_url`. For an address there, which is
    found without DNS, and which no certificate has."""

    log_level: str = "info"

    health_port: Annotated[int, Meta(ge=-1, le=65_535)] = 0
    """TCP port on `health_host` for /livez, /readyz and /metrics. 0 takes any free one and logs it; -1 serves none."""

    health_host: str = "127.0.0.1"

    stream_max_bytes: Annotated[int, Meta(ge=1 << 20)] = MAX_BYTES
    """Bytes that one stream may hold. What exceeds is refused, and reported."""

    stream_replicas: Annotated[int, Meta(ge=1, le=5)] = 1
    """Servers that keep each stream; 3 survives the loss of one."""


def load(kind: type[S], prefix: str, environ: Mapping[str, str] = os.environ) -> S:
    """The settings that the variables with this prefix give.

    Raises:
        ConfigError: a value does not convert, or a variable has a name that is no field's, or names a variable that
            was not there.
    """
    own = {name: text for name, text in environ.items() if name.startswith(prefix)}
    for name, text in own.items():
        if found := _NOT_FILLED_IN.search(text):
            raise ConfigError(
                f"{prefix}*: {name} is {text}, and nobody has filled {found[0]} in: of a Service of Kubernetes that is "
                "younger than this container; its next start has it"
            )
    raw = {name.removeprefix(prefix).lower(): text for name, text in own.items()}
    try:
        return msgspec.convert(raw, kind, strict=False)
    except msgspec.ValidationError as error:
        known = ", ".join(prefix + field.upper() for field in kind.__struct_fields__)
        raise ConfigError(f"{prefix}*: {error}; known are {known}") from error
