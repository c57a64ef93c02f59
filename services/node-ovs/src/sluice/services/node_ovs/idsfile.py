"""Rule ids and priorities on disk, so that a restarted programmer finds the flows in the switch as it would make them.

Written a moment after the flows, not before: a crash in between gives those rules new ids, which the next bundle puts
right in the switch. What is lost then is only the name of the rule in the labels of connections of that moment.
"""

from pathlib import Path

import structlog

from sluice.contracts import codec
from sluice.dataplane.ovs.ids import NotRestorable, RuleIds, RuleIdsState

log = structlog.get_logger()


class IdsFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved = b""
        self._looked_at: int | None = None
        """RuleIds.changes at the last save."""

    def load(self) -> RuleIds:
        """The ids that were kept. A file that cannot be read is set aside and said: ids start anew."""
        try:
            self._saved = self._path.read_bytes()
            return RuleIds.restore(codec.decode(self._saved, RuleIdsState))
        except FileNotFoundError:
            return RuleIds()
        except (codec.Undecodable, NotRestorable) as error:
            aside = self._path.with_suffix(".bad")
            self._path.replace(aside)
            log.error("rule_ids_refused", file=str(self._path), error=str(error), set_aside=str(aside))
            return RuleIds()

    def save(self, ids: RuleIds) -> None:
        """The file holds these ids; a reader never sees half of them."""
        changes = ids.changes
        if changes == self._looked_at:
            return
        body = codec.encode(ids.state())
        if body != self._saved:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_suffix(".new")
            new.write_bytes(body)
            new.replace(self._path)
        self._saved, self._looked_at = body, changes
