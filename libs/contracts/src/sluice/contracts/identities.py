"""Who may do what on the bus: one table, from which the server's configuration is generated.

The streams and the operator share one account of nats-server. Every other identity has an account of its own, and
reaches the streams' account only through imports, which this table grants. Permissions of users within one account
would not be enough: JetStream sends its answer to whatever reply subject a request names, without checking permissions,
so anyone who may make a request could have the answer stored anywhere, for example as a policy. In a separate account,
the answer stays in that account.
"""

from typing import Literal, NamedTuple, get_args

from msgspec import Struct

from sluice.contracts import subjects
from sluice.contracts.ids import Backend, NodeName
from sluice.contracts.streams import (
    ACTIONS,
    AUDIT,
    BY_NAME,
    CHECKPOINTS,
    GROUPS,
    LEDGER,
    OBJECTS,
    PROGRAMS,
    STATS,
    STATUS,
    STREAMS,
    StreamSpec,
)

STREAMS_ACCOUNT = "SLUICE"

JETSTREAM_API = "$JS.API"
"""In the account of the streams."""

OWN_API = "_sluice.api"
"""The same in all other accounts: there the server answers on `$JS.API` that the account has no JetStream."""

LEASES = "sluice_leases"
"""The KV bucket of leases."""

BACKENDS: tuple[Backend, ...] = get_args(Backend)

NODE_SERVICES = ("node-ovs", "node-tc", "node-l7", "node-host", "log-collector")
"""They run on a node, under the node's identity."""


class Identity(NamedTuple):
    """Somebody with a key of their own."""

    kind: Literal["service", "node", "person"]
    name: str

    @property
    def text(self) -> str:
        """`node.node-1`: the name of its account, and of its folder."""
        return f"{self.kind}.{subjects.token(self.name)}"

    @property
    def api(self) -> str:
        """Prefix of the subjects on which it asks JetStream."""
        return JETSTREAM_API if self == OPERATOR else OWN_API

    @property
    def inbox(self) -> str:
        """Prefix of the subjects on which it is answered."""
        return f"_INBOX.{self.text}"


class Grants(Struct, frozen=True, kw_only=True):
    """Everything else is denied. Subjects and patterns as they are in the account of the streams; sorted."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    serve: tuple[str, ...] = ()
    """Questions that it answers to `asks_all`, account to account."""

    asks_all: bool = False
    """It may ask everybody whatever they serve."""


ANSWERS = "_R_.>"
"""Where nats-server wants the answer to a question from another account."""


OPERATOR = Identity("person", "operator")
"""Who runs `sluice` against the bus, and may do everything there."""

ASKER = Identity("service", "query-api")
"""Asks nodes what they hold, and ingest to write, for whom it lets in."""

OWNER = Identity("service", "ingest")
"""Makes the streams and the bucket of leases, and makes them anew when they are gone."""


def node(name: NodeName) -> Identity:
    return Identity("node", name)


def of_service(service: str, node_name: NodeName | None) -> Identity:
    """Under which a service runs; the name is that of its node, if it is one of a node's."""
    return node(node_name) if node_name and service in NODE_SERVICES else Identity("service", service)


def grants(identity: Identity) -> Grants:
    """What the identity may do.

    Raises:
        LookupError: there is no such service or person.
    """
    if identity == OPERATOR:
        return Grants(publish=(">",), subscribe=(">",))
    if identity.kind == "node":
        return _node(NodeName(identity.name))
    if identity.kind == "service" and identity.name in SERVICES:
        served = (subjects.WRITE,) if identity == OWNER else ()
        return _grants(identity, [identity.name], SERVICES[identity.name], serve=served)
    raise LookupError(f"{identity.text}: no such identity; services are {', '.join(sorted(SERVICES))}")


def _grants(
    identity: Identity,
    services: list[str],
    publish: list[str],
    subscribe: tuple[str, ...] = (),
    serve: tuple[str, ...] = (),
) -> Grants:
    """With what everybody has: answers to what it asked, and questions about its health."""
    inbox = f"{identity.inbox}.>"
    health = [subjects.health(service) for service in services]
    answers = f"{OPERATOR.inbox}.>"
    return Grants(
        publish=tuple(sorted({*publish, answers})),
        subscribe=tuple(sorted({*subscribe, *serve, *health, inbox})),
        serve=serve,
        asks_all=identity == ASKER,
    )


def _node(name: NodeName) -> Grants:
    """Reads what is meant for nodes, and tells of itself.

    It makes no consumers, for one delivers to whatever subject it is told to.
    """
    publish = [
        _info(GROUPS),
        _info(PROGRAMS),
        _info(STATUS),
        f"{JETSTREAM_API}.DIRECT.GET.{GROUPS.name}",
        f"{JETSTREAM_API}.DIRECT.GET.{PROGRAMS.name}",
        f"{JETSTREAM_API}.DIRECT.GET.{GROUPS.name}.{subjects.local(name)}",
        subjects.audit(name, "*"),
        subjects.multicast(name),
    ]
    for backend in BACKENDS:
        status = subjects.status(name, backend)
        publish += [status, f"{JETSTREAM_API}.DIRECT.GET.{STATUS.name}.{status}", subjects.stats(name, backend)]
    subscribe = (
        subjects.live("groups.>"),
        *(subjects.live(f"programs.{backend}.>") for backend in BACKENDS),
        *(subjects.live(subjects.program_marks(backend)) for backend in BACKENDS),
        subjects.live(subjects.MULTICASTS),
        subjects.trace(name),
    )
    return _grants(node(name), list(NODE_SERVICES), publish, subscribe, (subjects.explains(name),))


def _info(spec: StreamSpec) -> str:
    return f"{JETSTREAM_API}.STREAM.INFO.{spec.name}"


def _follow(*specs: StreamSpec) -> list[str]:
    """To read all of these streams, and to ask how far they go; of a mirror's source, if it is still the same."""
    return [
        subject
        for spec in specs
        for subject in (
            _info(spec),
            *([_info(BY_NAME[spec.mirror])] if spec.mirror else []),
            f"{JETSTREAM_API}.STREAM.MSG.GET.{spec.name}",
            f"{JETSTREAM_API}.CONSUMER.CREATE.{spec.name}.>",
            f"$JS.FC.{spec.name}.>",
        )
    ]


def _write(spec: StreamSpec, *patterns: str) -> list[str]:
    """To store these, and to read back what is stored."""
    return [*_follow(spec), *patterns]


def _tell(*patterns: str) -> list[str]:
    """To store these in STATUS, and to read back no other."""
    return [_info(STATUS), *patterns, *(f"{JETSTREAM_API}.DIRECT.GET.{STATUS.name}.{pattern}" for pattern in patterns)]


def _lease(service: str) -> list[str]:
    stream = f"KV_{LEASES}"
    api = (f"{JETSTREAM_API}.STREAM.INFO.{stream}", f"{JETSTREAM_API}.STREAM.MSG.GET.{stream}")
    return [*api, f"$KV.{LEASES}.{service}.*"]


def _own() -> list[str]:
    """To make the streams; of those there are, only a mirror may go, for it can be made again."""
    names = [*(spec.name for spec in STREAMS), f"KV_{LEASES}"]
    verbs = [f"{JETSTREAM_API}.STREAM.{verb}.{name}" for name in names for verb in ("CREATE", "UPDATE", "INFO")]
    mirrors = [spec.name for spec in STREAMS if spec.mirror]
    also = [f"{JETSTREAM_API}.STREAM.{verb}.{name}" for name in mirrors for verb in ("DELETE", "LEADER.STEPDOWN")]
    return [*verbs, *also]


SERVICES: dict[str, list[str]] = {
    "admission": _follow(OBJECTS),
    "ingest": [*_own(), *_write(LEDGER, "objects.>"), *_follow(OBJECTS), *_tell("status._source.*")],
    "group-resolver": [*_follow(OBJECTS), *_write(GROUPS, "groups.>"), *_lease("group-resolver")],
    "rule-compiler": [
        *_follow(OBJECTS),
        *_write(PROGRAMS, "programs.>"),
        *_tell("status._compiler.*"),
        *_lease("rule-compiler"),
    ],
    "status-writer": [*_follow(OBJECTS, GROUPS, PROGRAMS, STATUS), *_lease("status-writer")],
    "query-api": [
        *_follow(LEDGER, OBJECTS, GROUPS, PROGRAMS, STATUS, STATS, AUDIT),
        *_write(CHECKPOINTS, *CHECKPOINTS.subjects),
        *_write(ACTIONS, *ACTIONS.subjects),
        *_lease("query-api"),
    ],
}
"""What each central service publishes and asks. None subscribes to more than the answers."""
