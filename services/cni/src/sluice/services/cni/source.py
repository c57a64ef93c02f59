"""This node in the API server: waits for its address ranges, then reads it periodically.

Addresses of a Node may come later than its ranges, and change. Ranges only change if the Node is recreated; the daemon
then ends, and its next start uses the new ones.
"""

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog
from msgspec import Struct, field

from sluice.contracts.ids import Address
from sluice.contracts.kinds import RESOURCES, Kind
from sluice.services.cni.bridge import Node
from sluice.services.cni.settings import CniSettings

if TYPE_CHECKING:
    from sluice.drivers.kubernetes.client import Client

log = structlog.get_logger()

NO_RANGES = (
    "the Node has no spec.podCIDRs yet: does kube-controller-manager allocate them (--allocate-node-cidrs)? Or "
    "set SLUICE_CNI_POD_CIDRS"
)
AWAITED_S = 2.0
"""Interval between reads while waiting for ranges."""


class RangesChanged(Exception):
    """The Node's ranges differ from those at the start of this daemon."""


class _Spec(Struct):
    pod_cidrs: tuple[str, ...] = field(name="podCIDRs", default=())


class _Entry(Struct, frozen=True):
    type: str
    address: Address


class _Status(Struct, frozen=True):
    addresses: tuple[_Entry, ...] = ()


class _Object(Struct):
    spec: _Spec = field(default_factory=_Spec)
    status: _Status = _Status()


class Source:
    def __init__(self, settings: CniSettings) -> None:
        self._own = settings
        self.node = Node(ranges=())
        """As last read."""

        self.waits = "the Node is not read yet"
        """Why Pods cannot start yet, while they cannot."""

        self._client: Client | None = None

    @property
    def asks(self) -> bool:
        """The Node is read from the API server, and so may change later."""
        return not self._own.pod_cidrs

    async def first(self) -> Node:
        """The ranges and addresses from the settings, or else from the Node, once it has podCIDRs."""
        if not self.asks:
            self.node = Node(ranges=tuple(self._own.pod_cidrs.split(",")), addresses=self._said)
            return self.node
        # Importing it takes half a second, which is not needed if the settings have the ranges.
        from sluice.drivers.kubernetes.access import BadAccess  # noqa: PLC0415  # see above
        from sluice.drivers.kubernetes.client import Backoff, Refused, Unreachable  # noqa: PLC0415  # see above

        backoff = Backoff()
        while True:
            wait_s = AWAITED_S
            try:
                self.node = await self._asked()
                if self.node.ranges:
                    return self.node
                self.waits = NO_RANGES
                backoff.reset()
            except (Refused, Unreachable, BadAccess) as error:
                self.waits = f"the Node cannot be read: {error}"
                wait_s = backoff.wait_s(error)
            log.warning("ranges_awaited", node=self._own.node_name, reason=self.waits)
            await asyncio.sleep(wait_s)

    async def read_again(self) -> bool:
        """Return True if the Node's addresses changed. Without an answer from the API server nothing changes.

        Raises:
            RangesChanged
        """
        from sluice.drivers.kubernetes.access import BadAccess  # noqa: PLC0415  # as in `first`
        from sluice.drivers.kubernetes.client import Refused, Unreachable  # noqa: PLC0415  # as in `first`

        try:
            now = await self._asked()
        except (Refused, Unreachable, BadAccess) as error:
            log.warning("node_not_read", node=self._own.node_name, reason=str(error))
            return False
        before = self.node
        if not now.ranges or now == before:  # without ranges it is being recreated
            return False
        if now.ranges != before.ranges:
            raise RangesChanged(f"{', '.join(before.ranges)} before, {', '.join(now.ranges)} now")
        log.info("node_addresses_changed", before=before.addresses, now=now.addresses)
        self.node = now
        return True

    @property
    def _said(self) -> tuple[Address, ...]:
        return tuple(map(Address, self._own.node_addresses.split(","))) if self._own.node_addresses else ()

    async def _asked(self) -> Node:
        from sluice.drivers.kubernetes.access import Access  # noqa: PLC0415  # as in `first`
        from sluice.drivers.kubernetes.client import Client, path  # noqa: PLC0415  # as in `first`

        if self._client is None:
            client = Client(Access(), "sluice/cni")
            await client.__aenter__()
            self._client = client
        body = await self._client.ask("GET", path(RESOURCES[Kind.NODE], "", self._own.node_name))
        found = msgspec.json.decode(body, type=_Object)
        internal = tuple(each.address for each in found.status.addresses if each.type == "InternalIP")
        return Node(ranges=found.spec.pod_cidrs, addresses=self._said or internal)

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.__aexit__(None, None, None)
