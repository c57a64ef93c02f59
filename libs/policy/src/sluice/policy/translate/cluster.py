"""What a translation looks up beside the policy: tiers and Namespaces."""

from collections.abc import Mapping
from typing import Protocol

from sluice.contracts.antrea import STATIC_TIERS


class Cluster(Protocol):
    def tier(self, name: str) -> int | None:
        """The priority of a tier; None if there is no such tier."""

    @property
    def namespaces(self) -> Mapping[str, Mapping[str, str]]:
        """The labels of each Namespace, by name."""


class Bare:
    """Static tiers, and no Namespaces."""

    namespaces: Mapping[str, Mapping[str, str]] = {}

    def tier(self, name: str) -> int | None:
        return STATIC_TIERS.get(name)


BARE = Bare()
