"""Label selectors. Source: Kubernetes, apimachinery/pkg/apis/meta/v1/validation (ValidateLabelSelector)."""

from collections.abc import Iterator

from sluice.admission import names
from sluice.admission.refusal import Refusal
from sluice.contracts import jsonpath
from sluice.contracts.objects import LabelRequirement, LabelSelector


def refusals(selector: LabelSelector, path: str) -> Iterator[Refusal]:
    yield from names.labels(selector.match_labels, f"{path}.matchLabels")
    for index, requirement in enumerate(selector.match_expressions):
        yield from _of_requirement(requirement, jsonpath.item(f"{path}.matchExpressions", index))


def _of_requirement(requirement: LabelRequirement, path: str) -> Iterator[Refusal]:
    if reason := names.label_key(requirement.key):
        yield Refusal(f"{path}.key", reason)
    match requirement.operator:
        case "In" | "NotIn" if not requirement.values:
            yield Refusal(f"{path}.values", f"{requirement.operator} has no values to compare with; add one")
        case "Exists" | "DoesNotExist" if requirement.values:
            yield Refusal(
                f"{path}.values", f"{requirement.operator} looks only at the key; remove the values, or use In"
            )
        case _:
            pass
    for index, value in enumerate(requirement.values):
        if reason := names.label_value(value):
            yield Refusal(jsonpath.item(f"{path}.values", index), reason)
