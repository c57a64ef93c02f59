"""The Pods that a TrafficControl selects, as a group."""

from collections.abc import Mapping

from sluice.contracts.ids import GroupId
from sluice.contracts.objects import AnyObject
from sluice.contracts.traffic_control import TrafficControl
from sluice.grouping.selectors import GroupSelector
from sluice.policy.translate.selecting import BadSelector, Group, Selection, pods_of_any


def selected(control: TrafficControl) -> Group | None:
    """The selected Pods; None if there is no selector at all, which selects nothing.

    Raises:
        BadSelector: see there.
    """
    chosen = control.spec.applied_to
    if chosen.pod_selector is None and chosen.namespace_selector is None:
        return None
    return pods_of_any((Selection.of(chosen.namespace_selector, chosen.pod_selector),))


def groups_of_control(obj: AnyObject | None) -> Mapping[GroupId, GroupSelector]:
    """The group that a TrafficControl names; empty for anything else, and if its selectors are invalid."""
    try:
        group = selected(obj) if isinstance(obj, TrafficControl) else None
    except BadSelector:
        return {}
    return {} if group is None else {group[0]: group[1]}
