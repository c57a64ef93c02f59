"""The annotation that says what happens to established connections that a policy starts to deny."""

from collections.abc import Iterator
from typing import get_args

from sluice.admission.refusal import Refusal
from sluice.contracts import jsonpath
from sluice.contracts.objects import ObjectMeta
from sluice.contracts.programs import ESTABLISHED, Established


def refusals(metadata: ObjectMeta) -> Iterator[Refusal]:
    written = metadata.annotations.get(ESTABLISHED)
    if written is not None and written not in get_args(Established):
        reason = (
            f'"{written}" is neither keep nor end, which say what happens to established connections that the policy '
            "starts to deny; write one of them"
        )
        yield Refusal(jsonpath.field("$.metadata.annotations", ESTABLISHED), reason)
