"""The changes of one bundle, numbered in sending order, and the errors returned for them."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path

from sluice.dataplane.ovs.flow import Buckets, FlowBody, FlowKey
from sluice.drivers.openflow.errors import BundleRefused, Refusal, SwitchError
from sluice.drivers.openflow.flow_mod import Stranger, describe

REFUSALS_KEPT = 100
"""Per bundle; further ones are only counted."""


class Changes:
    """The changes of one bundle, numbered in the order of encode_changes.

    Flows are put in ascending order of priority: the switch keeps flows with equal match in a list, highest priority
    first, and searches it from there for the place of a new one. In the opposite order, 50,000 take more than a minute
    instead of three seconds. Source: Open vSwitch `lib/classifier.c`, classifier_replace.

    Groups are put before all flows and deleted after them: a flow cannot refer to a missing group, and is deleted
    together with the group that it refers to.
    """

    def __init__(
        self,
        put: Mapping[FlowKey, FlowBody],
        delete: tuple[FlowKey, ...],
        strangers: tuple[Stranger, ...],
        groups: Mapping[int, Buckets],
        delete_groups: tuple[int, ...],
    ) -> None:
        self.put = dict(sorted(put.items(), key=_priority))
        self.delete = delete
        self.strangers = strangers
        self.groups = dict(sorted(groups.items()))
        self.delete_groups = delete_groups

    def __len__(self) -> int:
        groups = len(self.groups) + len(self.delete_groups)
        return len(self.strangers) + len(self.delete) + len(self.put) + groups

    def describe(self, number: int) -> str:
        if number < len(self.strangers):
            stranger = self.strangers[number]
            return f"delete stranger table={stranger.table},priority={stranger.priority}"
        number -= len(self.strangers)
        if number < len(self.groups):
            return f"add group {next(islice(self.groups, number, None))}"
        number -= len(self.groups)
        if number < len(self.delete):
            return f"delete {describe(self.delete[number])}"
        number -= len(self.delete)
        if number < len(self.put):
            return f"add {describe(next(islice(self.put, number, None)))}"
        return f"delete group {self.delete_groups[number - len(self.put)]}"


def _priority(flow: tuple[FlowKey, FlowBody]) -> int:
    return flow[0].priority


class Refused:
    """The errors returned for the messages of one bundle."""

    def __init__(self, changes: Changes, first_xid: int) -> None:
        self._changes = changes
        self._first_xid = first_xid
        self._refusals: list[Refusal] = []
        self._more = 0

    def __bool__(self) -> bool:
        return bool(self._refusals)

    def take(self, xid: int, error: SwitchError) -> bool:
        number = xid - self._first_xid
        if not 0 <= number < len(self._changes):
            return False
        if len(self._refusals) < REFUSALS_KEPT:
            self._refusals.append(Refusal(self._changes.describe(number), error))
        else:
            self._more += 1
        return True

    def check(self, where: Path) -> None:
        if self._refusals:
            raise BundleRefused(str(where), len(self._changes), self._refusals, self._more)
