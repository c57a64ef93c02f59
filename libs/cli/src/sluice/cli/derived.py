"""The output of group-resolver and rule-compiler for manifests, without a bus."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Derived(NamedTuple):
    compiler: Any
    groups: Any
    grouping: Any
    services: Any
    controls: Any


def derive(documents: Mapping[Any, Any]) -> Derived:
    """The folds over all documents, each as a revision of its own, with the groups that programs refer to."""
    from itertools import count

    from sluice.contracts.ids import Revision
    from sluice.grouping.events import ObjectEvent, key_of
    from sluice.grouping.index import Grouping
    from sluice.policy.compiler import Compiler, Groups
    from sluice.policy.services import Services
    from sluice.policy.traffic import TrafficControls

    found = Derived(Compiler(), Groups(), Grouping(), Services(), TrafficControls())
    sequence = count(1)
    for document in documents.values():
        event = ObjectEvent(key_of(document.object), document.object, Revision(1, next(sequence)))
        for fold in found:
            fold.evolve(event)
    for group, selector in sorted(found.groups.selectors.items()):
        found.grouping.select(group, selector)
    return found
