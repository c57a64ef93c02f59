"""Rule ids and priorities on disk, so that a restarted programmer finds the flows in the switch as it would make them.

Written a moment after the flows, not before: a crash in between gives those rules new ids, which the next bundle puts
right in the switch. What is lost then is only the name of the rule in the labels of connections of that moment.
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
        """The ids that were kept. A file that cannot be read is set aside and said: ids start anew."""
        state = self._file.load()
        if state is None:
            return RuleIds()
        try:
            return RuleIds.restore(state)
        except NotRestorable as error:
            self._file.refuse(str(error))
            return RuleIds()

    def save(self, ids: RuleIds) -> None:
        """The file holds these ids."""
        changes = ids.changes
        if changes != self._looked_at:
            self._file.save(ids.state())
            self._looked_at = changes
