"""The published contract, generated from the structs: what subscribers in any language may rely on.

It consists of a JSON Schema per message, and one AsyncAPI document that says which subject carries which message.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from sluice.contracts import actions, audit, groups, ledger, programs, serving, stats, status, traffic_programs
from sluice.contracts.kinds import RESOURCES, SELF_CONTAINED
from sluice.contracts.objects import TYPES, Listed
from sluice.contracts.streams import CAUSE_HEADER, TIME_HEADER, WRITER_HEADER

VERSION = "0.1.0"

Json = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_SCHEMA_FORMAT = "application/schema+json;version=draft-2020-12"
_HEADERS: Json = {
    "type": "object",
    "properties": {
        CAUSE_HEADER: {
            "type": "string",
            "pattern": "^[0-9]+[.][0-9]+$",
            "description": "Epoch and sequence in OBJECTS that the message reflects; tombstones have no body for it",
        },
        WRITER_HEADER: {"type": "string", "description": "The writer, and its run, that stored the message."},
        TIME_HEADER: {
            "type": "string",
            "pattern": "^[0-9]+$",
            "description": "When the message was first stored, in nanoseconds since 1970; only in a restored ledger",
        },
    },
}


class Channel(NamedTuple):
    """One kind of subject, and what it carries."""

    name: str
    subject: str
    """Tokens in braces are parameters; within a token, `.` is written `_`."""

    message: Any  # Any: a struct, or a union of structs
    stream: str
    writer: str
    says: str


CHANNELS: tuple[Channel, ...] = (
    *(
        Channel(
            kind.value,
            f"objects.{kind.value}.{{namespace}}.{{name}}",
            TYPES[kind],
            "LEDGER",
            "ingest",
            f"{RESOURCES[kind].api_version} {RESOURCES[kind].kind}; an empty body is a tombstone",
        )
        for kind in TYPES
    ),
    Channel("listed", "objects._listed.{kind}", Listed, "LEDGER", "ingest", "the first listing of a kind is complete"),
    Channel("page", "groups.{group}.{node}", groups.Page, "GROUPS", "group-resolver", "a group's members on a node"),
    Channel(
        "own", "groups._own.{node}.{shard}", groups.Own, "GROUPS", "group-resolver", "groups with members on a node"
    ),
    Channel(
        "route", "groups._route.{node}", groups.NodeRoute, "GROUPS", "group-resolver", "what is reached through a node"
    ),
    Channel("local", "groups._local.{node}", groups.Local, "GROUPS", "group-resolver", "the Pods of a node"),
    Channel(
        "groups-mark",
        "groups._mark.{shard}",
        groups.Mark,
        "GROUPS",
        "group-resolver",
        "everything up to a revision is stored",
    ),
    Channel(
        "program",
        "programs.{backend}.{group}.{unit}",
        programs.Program,
        "PROGRAMS",
        "rule-compiler",
        "what a backend holds for one unit, on the nodes that host a member of the group",
    ),
    Channel(
        "service-program",
        "programs.{backend}._all.services:{service}",
        serving.ServiceProgram,
        "PROGRAMS",
        "rule-compiler",
        "a Service, for every node",
    ),
    Channel(
        "endpoints-program",
        "programs.{backend}._all.endpointslices:{slice}",
        serving.EndpointsProgram,
        "PROGRAMS",
        "rule-compiler",
        "the serving endpoints of an EndpointSlice",
    ),
    Channel(
        "traffic-program",
        "programs.{backend}.{group}.trafficcontrols:_:{control}",
        traffic_programs.TrafficProgram,
        "PROGRAMS",
        "rule-compiler",
        "what a TrafficControl does with the traffic of a group's Pods",
    ),
    Channel(
        "programs-mark",
        "programs._mark.{backend}.{shard}",
        groups.Mark,
        "PROGRAMS",
        "rule-compiler",
        "everything up to a revision is stored",
    ),
    Channel(
        "node-status",
        "status.{node}.{backend}",
        status.NodeStatus,
        "STATUS",
        "the programmers",
        "what a node has applied",
    ),
    Channel(
        "source-status",
        "status._source.{source}",
        status.SourceStatus,
        "STATUS",
        "ingest",
        "documents that were rejected",
    ),
    Channel(
        "compiler-status",
        "status._compiler.{shard}",
        status.CompilerStatus,
        "STATUS",
        "rule-compiler",
        "objects that could not be translated",
    ),
    Channel(
        "node-stats",
        "stats.{node}.{backend}",
        stats.NodeStats,
        "STATS",
        "the programmers",
        "sessions, packets and bytes per rule",
    ),
    Channel(
        "audit",
        "audit.{node}.{log}",
        audit.AuditBatch,
        "AUDIT",
        "log-collector",
        "consecutive lines of one log of a node, parsed, and what was lost",
    ),
    Channel(
        "checkpoint",
        "ledger._checkpoint.{epoch}.{last}",
        ledger.Checkpoint,
        "CHECKPOINTS",
        "query-api",
        "proof of the entries of LEDGER since the previous checkpoint",
    ),
    Channel(
        "state-part",
        "ledger._state.{epoch}.{last}.{part}",
        ledger.StatePart,
        "CHECKPOINTS",
        "query-api",
        "some of the objects as of a checkpoint",
    ),
    Channel(
        "action",
        "actions.{replica}",
        actions.Action,
        "ACTIONS",
        "query-api",
        "a change made through the API: first the request, then its outcome",
    ),
)


def documents() -> dict[str, str]:
    """The contents of the files in `proto/`, by path."""
    made = {f"schemas/{name}.json": schema for name, schema in _schemas().items()}
    made["asyncapi.json"] = _asyncapi()
    return {path: _text(made[path]) for path in sorted(made)}


def breaking(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Changes in the new documents that would break a subscriber to the old ones, sorted.

    New messages, new optional fields, new tagged members of unions and new enumeration values break nobody: readers
    skip what they do not know. A field that may have another type, or that is no longer always present, does.
    """
    found = []
    for path in sorted(old):
        if path not in new:
            found.append(f"{path}: removed")
        elif path == "asyncapi.json":
            found += _breaking_subjects(msgspec.json.decode(old[path]), msgspec.json.decode(new[path]))
        else:
            found += _breaking_schema(path, msgspec.json.decode(old[path]), msgspec.json.decode(new[path]))
    return found


def _schemas() -> dict[str, Json]:
    named = {_name(channel.message): channel.message for channel in CHANNELS}
    made = {name: {"$schema": _DIALECT, **msgspec.json.schema(named[name])} for name in sorted(named)}
    for kind in SELF_CONTAINED:
        for definition in made[_name(TYPES[kind])]["$defs"].values():
            if definition.get("additionalProperties") is False:
                del definition["additionalProperties"]  # they travel with unknown fields, see `known_part`
    return made


def _asyncapi() -> Json:
    channels, operations = {}, {}
    for channel in CHANNELS:
        message = _name(channel.message)
        channels[channel.name] = {
            "address": channel.subject,
            "description": f"{channel.says}. Stream {channel.stream}, written by {channel.writer}.",
            "parameters": {token: {} for token in _parameters(channel.subject)},
            "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        }
        operations[f"tell-{channel.name}"] = {"action": "send", "channel": {"$ref": f"#/channels/{channel.name}"}}
    messages = {
        name: {
            "contentType": "application/json",
            "headers": _HEADERS,
            "payload": {"schemaFormat": _SCHEMA_FORMAT, "schema": {"$ref": f"schemas/{name}.json"}},
        }
        for name in _schemas()
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sluice",
            "version": VERSION,
            "description": "Values are whole: the last message on a subject is the truth about it. An empty body is a "
            "tombstone. Stored messages of GROUPS, PROGRAMS and MULTICAST are republished under live.",
        },
        "servers": {"bus": {"host": "localhost:4222", "protocol": "nats", "description": "NATS with JetStream"}},
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def _name(message: Any) -> str:
    return str(message.__name__)


def _parameters(subject: str) -> Iterator[str]:
    for token in subject.split("."):
        if token.startswith("{"):
            yield token.strip("{}")


def _text(document: Json) -> str:
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=2).decode() + "\n"


def _breaking_subjects(old: Json, new: Json) -> Iterator[str]:
    for name, channel in old["channels"].items():
        now = new["channels"].get(name)
        if now is None:
            yield f"subject {channel['address']}: removed"
        elif now["address"] != channel["address"]:
            yield f"subject {channel['address']}: is {now['address']} now"
        elif now["messages"].keys() != channel["messages"].keys():
            yield f"subject {channel['address']}: carries {', '.join(now['messages'])} now"


def _breaking_schema(path: str, old: Json, new: Json) -> Iterator[str]:
    for name, definition in old.get("$defs", {}).items():
        now = new.get("$defs", {}).get(name)
        if now is None:
            yield f"{path}: {name}: removed"
        else:
            yield from _breaking_struct(f"{path}: {name}", definition, now)


def _breaking_struct(where: str, old: Json, new: Json) -> Iterator[str]:
    before, after = old.get("properties", {}), new.get("properties", {})
    if not _fits(_shape(new), _shape(old)):
        yield f"{where}: another type"
    for name, was in before.items():
        if name not in after:
            yield f"{where}.{name}: removed"
        elif not _fits(after[name], was):
            yield f"{where}.{name}: another type"
    had, has = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(has - had):
        yield f"{where}.{name}: required now"
    for name in sorted((had - has) & after.keys()):
        yield f"{where}.{name}: may be absent now"
    for value in old.get("enum", ()):
        if value not in new.get("enum", ()):
            yield f"{where}: {value!r} is no value any more"


def _shape(definition: Json) -> Json:
    """The definition without the parts that are compared by name."""
    return {key: value for key, value in definition.items() if key not in ("properties", "required", "enum")}


def _fits(new: Json, old: Json) -> bool:
    """Whether a reader of the old schema can read all that the new one allows, or skip it (tagged members, values)."""
    tagged = "discriminator" in old
    known = _variants(old)
    return all(
        any(_same(variant, other) for other in known) or (tagged and "$ref" in variant) for variant in _variants(new)
    )


def _variants(schema: Json) -> list[Json]:
    return list(schema.get("anyOf", [schema]))


def _same(new: Json, old: Json) -> bool:
    if new.get("$ref") != old.get("$ref"):
        return False
    if new.get("type") != old.get("type") and (new.get("type"), old.get("type")) != ("integer", "number"):
        return False
    if "const" in old and new.get("const") != old["const"]:
        return False
    for key in ("items", "additionalProperties"):  # a schema, or a boolean
        inner, outer = new.get(key, True), old.get(key, True)
        if isinstance(inner, dict) and isinstance(outer, dict):
            if not _fits(inner, outer):
                return False
        elif isinstance(outer, dict) and inner is True:
            return False
    places, were = new.get("prefixItems", []), old.get("prefixItems", [])
    return len(places) == len(were) and all(_fits(inner, outer) for inner, outer in zip(places, were, strict=True))
