"""Every struct that travels is read by the version before and by the next.

What is unknown is passed over, and what may be absent has a default: so a new field needs one. The exception are the
parts of policies: without a field of theirs a rule would mean something else. A policy of Antrea is then not taken in,
and what it was before stays; of one of Kubernetes the known part is, closed (`known_part`).
"""

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import inspect

from sluice.contracts import actions, codec, explaining, tracing
from sluice.contracts.multicast import JoinedGroups
from sluice.contracts.pieces import Part
from sluice.contracts.published import CHANNELS

NEW = {"of_the_next_version": {"and": ["what", 1, "may", None, "be"]}}
DEEP = 4
"""So far fields that may be absent are filled in; some structs contain themselves."""


ASKED: tuple[Any, ...] = (
    JoinedGroups,
    *(tracing.TraceQuestion, tracing.Trace, tracing.TraceRefused),
    *(explaining.ExplainQuestion, explaining.HeldQuestion, explaining.Meaning, explaining.HeldPage),
    explaining.ExplainRefused,
    *(actions.PutQuestion, actions.DeleteQuestion, actions.Accepted, actions.Declined),
)
"""What travels and is not published: between nodes, questions and their answers."""


def travelling() -> list[type[Any]]:
    """Every struct within the messages of the bus."""
    found: dict[type[Any], None] = {}
    for told in inspect.multi_type_info([*(channel.message for channel in CHANNELS), *ASKED]):
        waiting: list[Any] = [told]
        while waiting:
            one = waiting.pop()
            if isinstance(one, inspect.StructType):
                if one.cls in found:
                    continue
                found[one.cls] = None
                waiting += [field.type for field in one.fields]
            else:
                waiting += parts(one)
    return sorted(found, key=lambda each: (each.__module__, each.__qualname__))


def parts(one: Any) -> Iterator[Any]:
    match one:
        case inspect.UnionType(types=types) | inspect.TupleType(item_types=types):
            yield from types
        case inspect.DictType(key_type=key, value_type=value):
            yield from (key, value)
        case inspect.CollectionType(item_type=item):
            yield item


def example(one: Any, depth: int = 0, *, whole: bool = True) -> Any:
    """A value of this type as JSON has it; of a struct with all its fields, or with those that it requires."""
    match one:
        case inspect.StructType():
            fields = [each for each in one.fields if each.required or (whole and depth < DEEP)]
            made = [example(each.type, depth + 1, whole=whole) for each in fields]
            if one.array_like:
                return [*([one.tag] if one.tag_field else []), *made]
            tagged = {one.tag_field: one.tag} if one.tag_field else {}
            return {**tagged, **{each.encode_name: value for each, value in zip(fields, made, strict=True)}}
        case inspect.UnionType(types=types):
            return example(next(each for each in types if not isinstance(each, inspect.NoneType)), depth, whole=whole)
        case inspect.TupleType(item_types=types):
            return [example(each, depth + 1, whole=whole) for each in types]
        case inspect.NamedTupleType(fields=fields):
            return [example(each.type, depth + 1, whole=whole) for each in fields]
        case inspect.DictType(key_type=key, value_type=value):
            return {example(key, depth): example(value, depth + 1, whole=whole)} if depth < DEEP else {}
        case inspect.CollectionType(item_type=item):
            return [example(item, depth + 1, whole=whole)] if depth < DEEP else []
        case inspect.EnumType(cls=kind):
            return next(iter(kind)).value
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.BoolType():
            return True
        case inspect.IntType() | inspect.FloatType():
            return next(each for each in (one.ge, one.gt and one.gt + 1, 1) if each is not None)
        case inspect.StrType():
            return "x" * (one.min_length or 1)
        case inspect.BytesType():
            return "eA=="
        case inspect.AnyType() | inspect.RawType():
            return {"any": 1}
    raise AssertionError(f"{one}: say here what such a value is like")


STRUCTS = travelling()
TAKEN_WHOLE = [each for each in STRUCTS if issubclass(each, Part)]
TOLERANT = [each for each in STRUCTS if not issubclass(each, Part)]


def whose(struct: type[Any]) -> str:
    return f"{struct.__module__.rpartition('.')[2]}.{struct.__name__}"


def now_and_later(struct: type[Any]) -> tuple[bytes, bytes]:
    told: Any = inspect.type_info(struct)
    now = example(told)
    return codec.encode(now), codec.encode([*now, NEW] if told.array_like else {**now, **NEW})


@pytest.mark.parametrize("struct", TOLERANT, ids=whose)
def test_what_a_version_does_not_know_it_passes_over(struct: type[Any]) -> None:
    now, later = now_and_later(struct)

    assert codec.decode(later, struct) == codec.decode(now, struct)


@pytest.mark.parametrize("struct", TAKEN_WHOLE, ids=whose)
def test_a_part_of_a_policy_is_taken_whole_or_not_at_all(struct: type[Any]) -> None:
    now, later = now_and_later(struct)
    codec.decode(now, struct)

    with pytest.raises(codec.Undecodable, match="of_the_next_version"):
        codec.decode(later, struct)


@pytest.mark.parametrize("struct", STRUCTS, ids=whose)
def test_what_a_version_did_not_write_has_a_default(struct: type[Any]) -> None:
    told: Any = inspect.type_info(struct)
    least, whole = example(told, whole=False), example(told)
    codec.decode(codec.encode(least), struct)

    for field in told.fields:
        if not field.required and not told.array_like:
            without = {name: each for name, each in whole.items() if name != field.encode_name}
            read = codec.decode(codec.encode(without), struct)
            assert getattr(read, field.name) == getattr(codec.decode(codec.encode(least), struct), field.name)


def test_the_law_is_about_all_of_them() -> None:
    assert {channel.message for channel in CHANNELS} <= set(STRUCTS)
    assert len(TOLERANT) > len(TAKEN_WHOLE) > 10
    assert {each.__module__.rpartition(".")[2] for each in TAKEN_WHOLE} == {
        "antrea",
        "antrea_groups",
        "objects",
        "pieces",
        "traffic_control",
    }  # what people write: nothing that is derived, nor said of a node
