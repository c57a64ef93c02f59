"""Requests and responses of the container runtime: the CNI specification, 0.4.0 to 1.1.0.

Source: containernetworking/cni SPEC.md, "Section 2: Execution Protocol" and "Section 5: Result Types".
"""

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import msgspec
from msgspec import Struct, field

from sluice.contracts import codec
from sluice.contracts.ids import Address

VERSIONS = ("0.4.0", "1.0.0", "1.1.0")
"""Newest last."""

LONGEST_NAME = 15
"""Maximum length of an interface name. Source: linux/if.h, IFNAMSIZ."""

_ID = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")
_NEEDED = {
    "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"),
    "DEL": ("CNI_CONTAINERID", "CNI_IFNAME"),
    "GC": (),
    "STATUS": (),
}


class Code(IntEnum):
    """Error codes; those from 100 on are our own."""

    INCOMPATIBLE_VERSION = 1
    UNKNOWN_CONTAINER = 3
    BAD_ENVIRONMENT = 4
    IO = 5
    UNDECODABLE = 6
    BAD_CONFIG = 7
    AGAIN = 11
    NOT_AVAILABLE = 50
    NO_ADDRESS = 100
    NOT_AS_IT_WAS = 101


class CniFailed(Exception):
    """The request failed; this becomes the error that the runtime shows for the Pod."""

    def __init__(self, code: Code, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.details = code, message, details

    def encode(self, version: str) -> bytes:
        said = {"cniVersion": version, "code": int(self.code), "msg": self.message, "details": self.details}
        return codec.encode(said)


class Owner(Struct, frozen=True, order=True):
    """The owner of an attachment: an interface of a container."""

    container: str
    interface: str


class Attachment(Struct, frozen=True, rename="camel"):
    container_id: str = field(name="containerID")
    ifname: str


class Config(Struct, frozen=True):
    """The network configuration on the plugin's standard input, as far as we use it."""

    version: str = field(name="cniVersion", default="")
    name: str = ""
    mtu: int = 0
    """MTU of the Pod's interface; 0 uses the daemon's setting."""

    previous: dict[str, Any] | None = field(name="prevResult", default=None)
    valid: tuple[Attachment, ...] | None = field(name="cni.dev/valid-attachments", default=None)


class Request(Struct, frozen=True):
    command: str
    config: Config
    owner: Owner
    netns: str
    pod: str
    """namespace/name; empty if the command does not need it."""

    uid: str


class Attached(Struct, frozen=True):
    """What an ADD created."""

    host_end: str
    mac: str
    addresses: tuple[Address, ...]


def read(variables: Mapping[str, str], stdin: bytes) -> Request:
    """Parse the request that the plugin was started with.

    Raises:
        CniFailed: it is invalid or not supported.
    """
    try:
        config = msgspec.json.decode(stdin, type=Config)
    except msgspec.MsgspecError as error:
        raise CniFailed(Code.UNDECODABLE, f"the network configuration on standard input: {error}") from error
    if config.version not in VERSIONS:
        known = ", ".join(VERSIONS)
        raise CniFailed(
            Code.INCOMPATIBLE_VERSION, f"cniVersion is {config.version!r}: write one of {known} in the configuration"
        )
    command = variables.get("CNI_COMMAND", "")
    if command not in _NEEDED:
        raise CniFailed(Code.BAD_ENVIRONMENT, f"CNI_COMMAND is {command!r}: it is one of {', '.join(_NEEDED)}")
    missing = [name for name in _NEEDED[command] if not variables.get(name)]
    if missing:
        raise CniFailed(Code.BAD_ENVIRONMENT, f"{', '.join(missing)} not set: {command} needs it")
    owner = Owner(variables.get("CNI_CONTAINERID", ""), variables.get("CNI_IFNAME", ""))
    if owner.container and not _ID.fullmatch(owner.container):
        raise CniFailed(Code.BAD_ENVIRONMENT, f"CNI_CONTAINERID is {owner.container!r}: not an id of a container")
    if len(owner.interface) > LONGEST_NAME or set(owner.interface) & set("/: \t\n"):
        raise CniFailed(Code.BAD_ENVIRONMENT, f"CNI_IFNAME is {owner.interface!r}: not a valid interface name")
    if command == "GC" and config.valid is None:
        raise CniFailed(
            Code.BAD_CONFIG,
            "GC without cni.dev/valid-attachments: all attachments would be removed; the runtime must list those to "
            "keep",
        )
    pod, uid = _pod(variables.get("CNI_ARGS", "")) if command == "ADD" else ("", "")
    return Request(command, config, owner, variables.get("CNI_NETNS", ""), pod, uid)


def _pod(arguments: str) -> tuple[str, str]:
    """Name and uid of the Pod, from `IgnoreUnknown=1;K8S_POD_NAMESPACE=x;K8S_POD_NAME=a;K8S_POD_UID=…`."""
    pairs = dict(part.split("=", 1) for part in arguments.split(";") if "=" in part)
    missing = [name for name in ("K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID") if not pairs.get(name)]
    if missing:
        raise CniFailed(
            Code.BAD_ENVIRONMENT,
            f"CNI_ARGS has no {', '.join(missing)}: a port opens for one Pod only, and this says for which; "
            "take a container runtime that passes it (containerd and CRI-O do)",
        )
    return f"{pairs['K8S_POD_NAMESPACE']}/{pairs['K8S_POD_NAME']}", pairs["K8S_POD_UID"]


def result(request: Request, made: Attached, gateways: Mapping[int, Address]) -> bytes:
    """The result of an ADD."""
    version = request.config.version
    old = version.startswith("0.")  # it states the family of each address

    def ip(address: Address) -> dict[str, Any]:
        family = 6 if ":" in address else 4
        told = {"address": f"{address}/{128 if family == 6 else 32}", "gateway": gateways[family], "interface": 1}
        return {**told, "version": str(family)} if old else told

    families = sorted({6 if ":" in address else 4 for address in made.addresses})
    routes = [{"dst": "::/0" if each == 6 else "0.0.0.0/0", "gw": gateways[each]} for each in families]
    return codec.encode(
        {
            "cniVersion": version,
            "interfaces": [
                {"name": made.host_end},
                {"name": request.owner.interface, "mac": made.mac, "sandbox": request.netns},
            ],
            "ips": [ip(address) for address in made.addresses],
            "routes": routes,
            "dns": {},
        }
    )
