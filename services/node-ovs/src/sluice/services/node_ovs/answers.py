"""DNS responses that the switch holds for us: each is released once the switch has what it says, or dropped.

A held packet exists only in the message that hands it over. So if we die, whatever was not released is dropped, and the
client asks again.
"""

from collections import Counter, deque
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

import structlog

from sluice.contracts.ids import Address, Uid
from sluice.dataplane.dns.message import Unreadable
from sluice.dataplane.dns.stream import Early
from sluice.dataplane.ovs.fqdn import Full
from sluice.dataplane.ovs.fqdn_answers import NotBelieved
from sluice.drivers.openflow.packets import PacketIn
from sluice.drivers.openflow.switch import Switch
from sluice.runtime.metrics import METRICS
from sluice.services.node_ovs.naming import Naming, NoPod

log = structlog.get_logger()

HOLD_S = 2.0
"""Nobody waits longer than this: resolvers retry after one to a few seconds."""

MOST_HELD = 4096

_answers = METRICS.counter(
    "sluice_node_ovs_dns_answers_total",
    "DNS answers that were held, by outcome: released; or dropped because the switch did not have their rules within "
    "two seconds (late), there is no room for what they tell (full), they cannot be parsed (unreadable), precede what "
    "they continue (early), come from a server that is not trusted (not_believed) or are for no Pod (no_pod), or "
    "because there were too many in a second (over_rate), at once (too_many), on their way to node-ovs (lost), or "
    "while nothing received them (unattended)",
    "became",
)
_held = METRICS.gauge("sluice_node_ovs_dns_answers_held", "DNS answers that are held now")
_known = METRICS.gauge(
    "sluice_node_ovs_names_known", "Known addresses of DNS names, counted for each Pod that was told"
)

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (Full, "full"),
    (NoPod, "no_pod"),
    (NotBelieved, "not_believed"),
    (Early, "early"),
    (Unreadable, "unreadable"),
)


class _Held(NamedTuple):
    since: float
    switch: Switch
    packet: PacketIn


class Answers:
    """Holds DNS responses until they may be released.

    Args:
        news: called when there are responses to read.
        settled: whether the switch has everything in the fold, so that a response with no news may pass at once.
    """

    def __init__(
        self,
        naming: Naming,
        holder_of: Callable[[Address], Uid | None],
        news: Callable[[], None],
        settled: Callable[[], bool],
    ) -> None:
        self._naming, self._holder_of, self._news, self._settled = naming, holder_of, news, settled
        self._unread: deque[_Held] = deque()
        self._waiting: deque[_Held] = deque()
        self._dropped: Counter[str] = Counter()
        """Dropped packets by reason, since the last `report`."""

        _held.follow(lambda: len(self._unread) + len(self._waiting))
        _known.follow(lambda: len(naming.names))

    def take(self, switch: Switch, packet: PacketIn) -> None:
        """Take a packet that the switch holds."""
        self.drop_late(monotonic())
        if len(self._unread) + len(self._waiting) >= MOST_HELD:
            self.dropped("too_many", 1)
        elif packet.held:
            alone = not self._unread and not self._waiting and self._naming.names.drained
            self._unread.append(_Held(monotonic(), switch, packet))
            if alone and self._settled():
                self.read(monotonic())
                if self._naming.names.drained:
                    self.release(switch)
                    return
            self._news()

    def read(self, now_s: float) -> None:
        """Feed the unread responses to the fold; release those that do not have to wait for the switch."""
        while self._unread:
            held = self._unread.popleft()
            try:
                waits = self._naming.hear(held.packet.packet, self._holder_of, now_s)
            except (Unreadable, Full) as error:
                self.dropped(next(reason for kind, reason in _REASONS if isinstance(error, kind)), 1)
                continue
            if waits:
                self._waiting.append(held)
            else:
                _resume(held)

    def release(self, switch: Switch) -> None:
        """Release all responses that were read: the switch now has what they say."""
        self.drop_late(monotonic())
        while self._waiting:
            held = self._waiting.popleft()
            if held.switch is switch:
                _resume(held)
            else:
                self.dropped("late", 1)  # held by a switch connection that is gone

    def drop_late(self, now_s: float) -> None:
        for queue in (self._unread, self._waiting):
            while queue and queue[0].since + HOLD_S < now_s:
                queue.popleft()
                self.dropped("late", 1)

    def dropped(self, reason: str, count: int) -> None:
        """Count packets dropped for this reason."""
        if count:
            _answers.add(count, reason)
            self._dropped[reason] += count

    def report(self) -> None:
        """Log what was dropped since the last call."""
        self.drop_late(monotonic())
        if self._dropped:
            log.warning("dns_answers_dropped", **self._dropped)
            self._dropped.clear()


def _resume(held: _Held) -> None:
    held.switch.resume(held.packet)
    _answers.add(1, "released")
