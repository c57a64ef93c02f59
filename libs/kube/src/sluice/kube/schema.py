"""Checks that a document has the shape of its kind, and finds every field that does not, with its path and line.

The structs of `sluice.contracts.objects` are the schema. Unlike a plain conversion this names a label by its key, says
how to correct what YAML has interpreted differently, and finds all errors instead of only the first.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import NamedTuple

from msgspec import Struct, inspect

from sluice.contracts import jsonpath
from sluice.contracts.antrea import AntreaPeer, AppliedTo, PeerService
from sluice.contracts.antrea_groups import GroupSpec
from sluice.contracts.objects import (
    AntreaGroup,
    AntreaNetworkPolicy,
    ClusterGroup,
    ClusterNetworkPolicy,
    K8sNetworkPolicy,
    MultiNetworkPolicy,
    NetworkAttachmentDefinition,
    Object,
    ObjectMeta,
    Tier,
    TrafficControl,
)
from sluice.kube.nodes import Entry, Map, Node, Reading, Scalar, Sequence, is_null
from sluice.kube.scalars import shortened

UNREAD: Mapping[type[Struct], frozenset[str]] = {
    ObjectMeta: frozenset(
        (
            "deletionGracePeriodSeconds",
            "deletionTimestamp",
            "finalizers",
            "generateName",
            "managedFields",
            "ownerReferences",
            "resourceVersion",
            "selfLink",
        )
    ),
    K8sNetworkPolicy: frozenset(("status",)),
    MultiNetworkPolicy: frozenset(("status",)),
    NetworkAttachmentDefinition: frozenset(("status",)),
    Tier: frozenset(("status",)),
    ClusterNetworkPolicy: frozenset(("status",)),
    AntreaNetworkPolicy: frozenset(("status",)),
    TrafficControl: frozenset(("status",)),
    ClusterGroup: frozenset(("status",)),
    AntreaGroup: frozenset(("status",)),
}
"""Fields that Kubernetes has and we do not read, in the kinds whose unknown fields are refused."""

NOT_YET: Mapping[type[Struct], frozenset[str]] = {
    AppliedTo: frozenset(("externalEntitySelector",)),
    AntreaPeer: frozenset(("externalEntitySelector", "scope")),
    PeerService: frozenset(("scope",)),
    GroupSpec: frozenset(("externalEntitySelector",)),
}
"""Fields of Antrea that users may rely on, and that nothing here enforces: never dropped silently."""

_DATES = frozenset(("creationTimestamp", "deletionTimestamp"))
"""Text that YAML reads as a date unless quoted, as in copies of `kubectl get` made by hand."""

_NOUNS: Mapping[type[inspect.Type], str] = {
    inspect.StrType: "text",
    inspect.IntType: "an integer",
    inspect.FloatType: "a number",
    inspect.BoolType: "true or false",
}


class Finding(NamedTuple):
    line: int
    path: str
    reason: str
    """What is wrong, why, and what to do."""


def findings(node: Node, kind: type[Object], *, strict: bool) -> tuple[Finding, ...]:
    """Everything that prevents the node from being an object of this kind; `strict` refuses unknown fields."""
    return tuple(_of_type(node, _type_info(kind), jsonpath.ROOT, strict=strict))


def read_part(node: Node, kind: type[Object]) -> Node:
    """The node without the fields that an object of this kind does not have. What has another shape stays as it is."""
    return _read_part(node, _type_info(kind))


def _read_part(node: Node, expected: inspect.Type) -> Node:
    match expected, node:
        case inspect.StructType(fields=fields), Map(line=line, entries=entries):
            kept = ((field, entries.get(field.encode_name)) for field in fields)
            return Map(
                line,
                {
                    field.encode_name: Entry(entry.line, _read_part(entry.node, field.type))
                    for field, entry in kept
                    if entry is not None
                },
            )
        case inspect.VarTupleType(item_type=item), Sequence(line=line, items=items):
            return Sequence(line, tuple([_read_part(one, item) for one in items]))
        case inspect.UnionType(types=types), _:
            some = [member for member in types if not isinstance(member, inspect.NoneType)]
            return _read_part(node, some[0]) if len(some) == 1 else node
        case _:
            return node


@cache
def _type_info(kind: type[Struct]) -> inspect.Type:
    return inspect.type_info(kind)


def _of_type(node: Node, expected: inspect.Type, path: str, *, strict: bool) -> Iterator[Finding]:
    match expected:
        case inspect.StructType():
            yield from _of_struct(node, expected, path, strict=strict)
        case inspect.DictType():
            yield from _of_dict(node, expected, path, strict=strict)
        case inspect.VarTupleType():
            yield from _of_tuple(node, expected, path, strict=strict)
        case inspect.LiteralType(values=values):
            if not isinstance(node, Scalar) or node.value not in values:
                yield Finding(node.line, path, _not_one_of(node, tuple(str(value) for value in values)))
        case inspect.UnionType(types=types):
            some = [member for member in types if not isinstance(member, inspect.NoneType)]
            if len(some) == 1:
                yield from _of_type(node, some[0], path, strict=strict)
            elif all(any(_of_type(node, member, path, strict=strict)) for member in some):
                nouns = " or ".join(_NOUNS[type(member)] for member in some)
                yield Finding(node.line, path, _mismatch(node, nouns, textual=True))
        case _:
            if reason := _of_scalar(node, expected, path):
                yield Finding(node.line, path, reason)


def _of_struct(node: Node, expected: inspect.StructType, path: str, *, strict: bool) -> Iterator[Finding]:
    if not isinstance(node, Map):
        yield Finding(node.line, path, _mismatch(node, "a map"))
        return
    known = {field.encode_name: field for field in expected.fields}
    for name, (line, value) in node.entries.items():
        if is_null(value):
            continue
        if name in known:
            yield from _of_type(value, known[name].type, jsonpath.field(path, name), strict=strict)
        elif strict and name not in UNREAD.get(expected.cls, ()):
            later = name in NOT_YET.get(expected.cls, ())
            reason = _not_yet(name) if later else _unknown(name, tuple(known))
            yield Finding(line, jsonpath.field(path, name), reason)
    for name, field in known.items():
        if field.required and (name not in node.entries or is_null(node.entries[name].node)):
            yield Finding(node.line, jsonpath.field(path, name), "missing, and it has no default; give it a value")


def _of_dict(node: Node, expected: inspect.DictType, path: str, *, strict: bool) -> Iterator[Finding]:
    """A null here is refused: left out, it would make a selector wider than it looks."""
    if not isinstance(node, Map):
        yield Finding(node.line, path, _mismatch(node, "a map"))
        return
    for name, (line, value) in node.entries.items():
        here = jsonpath.field(path, name)
        if is_null(value):
            yield Finding(line, here, 'no value; write "" for the empty text, or remove the key')
        else:
            yield from _of_type(value, expected.value_type, here, strict=strict)


def _of_tuple(node: Node, expected: inspect.VarTupleType, path: str, *, strict: bool) -> Iterator[Finding]:
    """A null item is refused: Kubernetes would treat it as an empty one, which often means everybody."""
    if not isinstance(node, Sequence):
        yield Finding(node.line, path, _mismatch(node, "a list"))
        return
    for index, item in enumerate(node.items):
        here = jsonpath.item(path, index)
        if is_null(item):
            yield Finding(item.line, here, "an empty item; give it a value ({} if it means everything), or remove it")
        else:
            yield from _of_type(item, expected.item_type, here, strict=strict)


def _of_scalar(node: Node, expected: inspect.Type, path: str) -> str | None:
    match expected, node:
        case inspect.StrType(), Scalar(reading=Reading.TEXT):
            return None
        case inspect.StrType(), Scalar(reading=Reading.TIMESTAMP) if path.rpartition(".")[2] in _DATES:
            return None
        case inspect.IntType(), Scalar(reading=Reading.INTEGER):
            return None
        case inspect.FloatType(), Scalar(reading=Reading.INTEGER | Reading.NUMBER):
            return None
        case inspect.BoolType(), Scalar(reading=Reading.BOOLEAN):
            return None
        case _:
            return _mismatch(node, _NOUNS[type(expected)], textual=isinstance(expected, inspect.StrType))


def _mismatch(node: Node, expected: str, *, textual: bool = False) -> str:
    match node:
        case Map():
            return f"a map where {expected} belongs; give {expected}"
        case Sequence():
            return f"a list where {expected} belongs; remove the leading `-` or the brackets"
        case Scalar(reading=Reading.TEXT, text=text):
            unquoted = text.strip().lstrip("+-").replace(".", "", 1).isdigit()
            mend = "write it without quotes" if unquoted else f"give {expected}"
            return f'"{shortened(text)}" is text where {expected} belongs; {mend}'
        case Scalar(reading=reading, text=text):
            mend = f'quote it: "{shortened(text)}"' if textual else f"give {expected}"
            return f"{shortened(text)} is {reading} where {expected} belongs; {mend}"


def _not_one_of(node: Node, values: tuple[str, ...]) -> str:
    if not isinstance(node, Scalar):
        return _mismatch(node, f"one of {', '.join(values)}")
    same = [value for value in values if value.lower() == node.text.strip().lower()]
    mend = f"write {same[0]}" if same else f"write one of {', '.join(values)}"
    return f"`{shortened(node.text)}` is not known here; {mend}"


def _not_yet(name: str) -> str:
    return f"{name} is not supported yet by this version, so nothing would enforce it; write the rule without it"


def _unknown(name: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(name, known, n=1)
    mend = f"did you mean `{close[0]}`?" if close else f"remove it; known are {', '.join(sorted(known))}"
    return f"unknown field, so it would mean nothing; {mend}"
