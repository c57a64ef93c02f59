"""Building blocks of the schemas.

Objects keep unknown fields (`x-kubernetes-preserve-unknown-fields`): otherwise the API server would remove them
silently, and a selector that loses its misspelt half selects more. The webhook sees them this way, and refuses.

Exclusive fields are expressed by `oneOf` and `required`, which cost nothing. CEL rules are only used in objects that
occur once: the API server estimates the cost of each rule, and refuses a definition whose lists could be long. Source:
Kubernetes, docs "Extend the Kubernetes API with CustomResourceDefinitions" (structural schemas, pruning, CEL).
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

Schema = dict[str, Any]  # Any: JSON

LABEL_VALUE = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
NAME = "^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$"
"""Name of a referenced object. Capitals are accepted with a warning."""

MAX_LABEL, MAX_NAME = 63, 253


def obj(
    properties: Mapping[str, Schema],
    *,
    required: Sequence[str] = (),
    at_least: int = 0,
    rules: Sequence[Schema] = (),
    all_of: Sequence[Schema] = (),
) -> Schema:
    """An object with these properties, and unknown ones, which the webhook must refuse."""
    schema: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": dict(properties)}
    for key, value in (
        ("required", list(required)),
        ("minProperties", at_least),
        ("allOf", list(all_of)),
        ("x-kubernetes-validations", list(rules)),
    ):
        if value:
            schema[key] = value
    return schema


def array(items: Schema, *, at_least: int = 0) -> Schema:
    return {"type": "array", "items": items} | ({"minItems": at_least} if at_least else {})


def text(*, longest: int = 0, pattern: str = "", of: Sequence[str] = (), form: str = "", about: str = "") -> Schema:
    schema: Schema = {"type": "string"}
    for key, value in (
        ("description", about),
        ("maxLength", longest),
        ("pattern", pattern),
        ("enum", list(of)),
        ("format", form),
    ):
        if value:
            schema[key] = value
    return schema


def integer(numbers: range, *, wide: bool = False) -> Schema:
    return {
        "type": "integer",
        "format": "int64" if wide else "int32",
        "minimum": numbers[0],
        "maximum": numbers[-1],
    }


def one_of(integers: Iterable[int]) -> Schema:
    return {"type": "integer", "format": "int32", "enum": list(integers)}


def rule(expression: str, message: str) -> Schema:
    """A CEL rule."""
    return {"rule": expression, "message": message}


def given(*names: str) -> Schema:
    """At least one of these fields is present."""
    if len(names) == 1:
        return {"required": list(names)}
    return {"anyOf": [{"required": [name]} for name in names]}


def one_way(*ways: Sequence[str]) -> Schema:
    """Exactly one of these sets of fields has a field that is present."""
    return {"oneOf": [given(*way) for way in ways]}


def at_most_one_way(*ways: Sequence[str]) -> list[Schema]:
    """No two of these sets both have fields that are present; one schema per pair."""
    return [{"not": {"allOf": [given(*way), given(*other)]}} for way, other in combinations(ways, 2)]


def needs(field: str, other: str) -> Schema:
    """The first field requires the second."""
    return {"anyOf": [{"not": {"required": [field]}}, {"required": [other]}]}


def selector() -> Schema:
    values = text(longest=MAX_LABEL, pattern=LABEL_VALUE)
    expression = obj(
        {
            "key": text(longest=MAX_NAME + 1 + MAX_LABEL),
            "operator": text(of=("In", "NotIn", "Exists", "DoesNotExist")),
            "values": array(values),
        },
        required=("key", "operator"),
    )
    labels = {"type": "object", "additionalProperties": values}
    return obj({"matchLabels": labels, "matchExpressions": array(expression)})


def block() -> Schema:
    cidr = text(form="cidr")
    return obj({"cidr": cidr, "except": array(cidr)}, required=("cidr",))


def reference() -> Schema:
    """Reference to an object in a namespace."""
    name = text(longest=MAX_NAME, pattern=NAME)
    return obj({"name": name, "namespace": name}, required=("name", "namespace"))


def conditions() -> Schema:
    return array(
        {
            "type": "object",
            "properties": {
                "type": text(),
                "status": text(),
                "reason": text(),
                "message": text(),
                "lastTransitionTime": text(form="date-time"),
            },
        }
    )


def address() -> Schema:
    return {"type": "string", "oneOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
