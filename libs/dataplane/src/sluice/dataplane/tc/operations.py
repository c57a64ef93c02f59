"""The operations of a plan: changes of one hook, each atomic, to be applied in order.

The order guarantees that nothing opens and nothing blinks on the way, so a driver may send many in one batch but must
not reorder them. `Settle` is a wait and not a message: when it ends, packets in transit have left the chains that
nothing leads to any more.

Operations are idempotent: an `AddFilter` that exists, and a `DeleteFilter` or `DeleteChain` of something absent, are
already done.
"""

from msgspec import Struct

from sluice.dataplane.tc.filter import FilterBody, FilterKey

SETTLE_S = 0.01
"""Seconds a packet may take through the filters of a hook, with a wide margin (one grace period of RCU)."""


class AddFilter(Struct, frozen=True, tag="add"):
    """RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL. The chain comes to be with its first filter."""

    key: FilterKey
    handle: int
    body: FilterBody


class ReplaceFilter(Struct, frozen=True, tag="replace"):
    """RTM_NEWTFILTER of an existing handle: the old filter until it is the new one. The root's swaps a generation."""

    key: FilterKey
    handle: int
    body: FilterBody


class DeleteFilter(Struct, frozen=True, tag="delete"):
    """RTM_DELTFILTER. A chain goes with its last filter, if nothing refers to it."""

    key: FilterKey
    handle: int


class DeleteChain(Struct, frozen=True, tag="delete-chain"):
    """All filters of a chain at once: RTM_DELTFILTER with TCA_CHAIN, preference 0 and protocol 0."""

    chain: int


class Settle(Struct, frozen=True, tag="settle"):
    """Wait SETTLE_S."""


Operation = AddFilter | ReplaceFilter | DeleteFilter | DeleteChain | Settle
