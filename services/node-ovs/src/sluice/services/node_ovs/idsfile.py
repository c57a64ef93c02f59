"""Keeps rule ids and priorities on disk, so that a restarted programmer computes the same flows as are in the switch.

Saved shortly after the flows, not before. After a crash in between, those rules get new ids, which the next bundle
brings into the switch. All that is lost is the rule's name in the labels of connections of that moment.
"""

from pathlib import Path

from sluice.dataplane.ovs.ids import NotRestorable, RuleIds, RuleIdsState
from sluice.services.node_ovs.statefile import StateFile


class IdsFile:
    def __init__(self, path: Path) -> None:
        self._file = StateFile(path, RuleIdsState)
        self._looked_at: int | None = None
        """RuleIds.changes at the last save."""

    def load(self) -> RuleIds:
        """Load the saved ids. An unreadable file is set aside and logged; ids then start afresh."""
        state = self._file.load()
        if state is None:
            return RuleIds()
        try:
            return RuleIds.restore(state)
        except NotRestorable as error:
            self._file.refuse(str(error))
            return RuleIds()

    def save(self, ids: RuleIds) -> None:
        """Save the ids if they changed."""
        changes = ids.changes
        if changes != self._looked_at:
            self._file.save(ids.state())
            self._looked_at = changes
