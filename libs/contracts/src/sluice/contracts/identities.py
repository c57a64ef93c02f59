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
"""API prefix in the streams' account."""

OWN_API = "_sluice.api"
"""API prefix in all other accounts: on `$JS.API` the server would reply that the account has no JetStream."""

LEASES = "sluice_leases"
"""The KV bucket of leases."""

BACKENDS: tuple[Backend, ...] = get_args(Backend)

NODE_SERVICES = ("node-ovs", "node-tc", "node-l7", "node-host", "log-collector")
"""Services that run on a node, under the node's identity."""


class Identity(NamedTuple):
    """A service, node or person with its own key."""

    kind: Literal["service", "node", "person"]
    name: str

    @property
    def text(self) -> str:
        """The name of its account and of its folder, such as `node.node-1`."""
        return f"{self.kind}.{subjects.token(self.name)}"

    @property
    def api(self) -> str:
        """Prefix of the subjects of its requests to JetStream."""
        return JETSTREAM_API if self == OPERATOR else OWN_API

    @property
    def inbox(self) -> str:
        """Prefix of the subjects on which it receives replies."""
        return f"_INBOX.{self.text}"


class Grants(Struct, frozen=True, kw_only=True):
    """What is allowed; everything else is denied. Subjects and patterns as named in the streams' account; sorted."""

    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    serve: tuple[str, ...] = ()
    """Subjects of the requests that it answers, from the account of the identity that `asks_all`."""

    asks_all: bool = False
    """It may send requests to everything that others `serve`."""


ANSWERS = "_R_.>"
"""Reply subjects that nats-server uses for requests from another account."""


OPERATOR = Identity("person", "operator")
"""Whoever runs `sluice` against the bus; may do everything there."""

ASKER = Identity("service", "query-api")
"""On behalf of its authorised callers, asks nodes what they hold and ingest to write."""

OWNER = Identity("service", "ingest")
"""Creates the streams and the bucket of leases, and recreates them if they are lost."""


def node(name: NodeName) -> Identity:
    return Identity("node", name)


def of_service(service: str, node_name: NodeName | None) -> Identity:
    """The identity under which a service runs: that of its node for one of NODE_SERVICES, else its own."""
    return node(node_name) if node_name and service in NODE_SERVICES else Identity("service", service)


def grants(identity: Identity) -> Grants:
    """The permissions of the identity.

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
    """Add what every identity gets: replies to its requests, health requests, and replies to the operator."""
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
    """A node reads what is meant for nodes, and publishes about itself.

    It may not create consumers, since a consumer delivers to any subject that its creator names.
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
    """To read these streams and their info; for a mirror also its source's info, to check that it is still the same."""
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
    """To publish on these subjects, and to read the stream back."""
    return [*_follow(spec), *patterns]


def _tell(*patterns: str) -> list[str]:
    """To publish on these subjects of STATUS, and to read back only these."""
    return [_info(STATUS), *patterns, *(f"{JETSTREAM_API}.DIRECT.GET.{STATUS.name}.{pattern}" for pattern in patterns)]


def _lease(service: str) -> list[str]:
    stream = f"KV_{LEASES}"
    api = (f"{JETSTREAM_API}.STREAM.INFO.{stream}", f"{JETSTREAM_API}.STREAM.MSG.GET.{stream}")
    return [*api, f"$KV.{LEASES}.{service}.*"]


def _own() -> list[str]:
    """To create and update the streams. Only mirrors may be deleted, as they can be recreated from their source."""
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
"""What each central service may publish and request. They subscribe only to replies and to requests to themselves."""
