"""The operations of a plan: changes of one hook, each atomic, to be applied in order.

The order guarantees that nothing is opened and nothing interrupted in between, so a driver may send many in one batch
but must not reorder them. `Settle` is a wait and not a message: when it ends, packets in transit have left the chains
that nothing leads to any more.

Operations are idempotent: an `AddFilter` that exists, and a `DeleteFilter` or `DeleteChain` of something absent, are
already done.
"""

from msgspec import Struct

from sluice.dataplane.tc.filter import FilterBody, FilterKey

SETTLE_S = 0.01
"""Seconds a packet may take through the filters of a hook, with a wide margin (one RCU grace period)."""


class AddFilter(Struct, frozen=True, tag="add"):
    """RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL. The first filter of a chain creates it."""

    key: FilterKey
    handle: int
    body: FilterBody


class ReplaceFilter(Struct, frozen=True, tag="replace"):
    """RTM_NEWTFILTER of an existing handle, which swaps the filter atomically. The root's swaps a generation."""

    key: FilterKey
    handle: int
    body: FilterBody


class DeleteFilter(Struct, frozen=True, tag="delete"):
    """RTM_DELTFILTER. The last filter of a chain takes the chain with it, if nothing refers to it."""

    key: FilterKey
    handle: int


class DeleteChain(Struct, frozen=True, tag="delete-chain"):
    """All filters of a chain at once: RTM_DELTFILTER with TCA_CHAIN, preference 0 and protocol 0."""

    chain: int


class Settle(Struct, frozen=True, tag="settle"):
    """Wait SETTLE_S."""


Operation = AddFilter | ReplaceFilter | DeleteFilter | DeleteChain | Settle
