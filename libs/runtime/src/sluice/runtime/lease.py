"""Ownership of a shard: a key in a KV bucket that expires unless its holder renews it.

The lease only keeps two processes from working against each other. Protection against overwriting is up to the fences
in `output`, so a holder that cannot renew because the server is down continues: it cannot write either.
"""

import asyncio
from typing import Self

import nats.errors
import structlog
from nats.js import api
from nats.js.errors import (
    BucketNotFoundError,
    KeyNotFoundError,
    KeyWrongLastSequenceError,
    NoKeysError,
    NotFoundError,
    ServiceUnavailableError,
)
from nats.js.kv import KeyValue

from sluice.contracts.identities import LEASES
from sluice.runtime.bus import Bus
from sluice.runtime.patience import patiently

log = structlog.get_logger()

BUCKET = LEASES
TTL_S = 6.0
"""After a holder crashed, another may claim the shard after this time; the same holder, restarted, at once."""

_RENEW_S = TTL_S / 4
_MOST_DOUBTS = 8  # in a row, four seconds: then the bucket was recreated, and its revisions start over


class LeaseLost(RuntimeError):
    """Another holder has the shard: stop writing, and stand by."""


def _lags(key: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(
        description=f"{key}: a replica of the bus lags behind, or another service is writing it now; try again"
    )


class Lease:
    """One shard of a service, held by one instance of it."""

    def __init__(self, bus: Bus, service: str, holder: str, shard: int) -> None:
        self._bus, self._holder = bus, holder
        self._key = f"{service}.{shard}"
        self._revision = 0
        self._latest = 0  # our highest revision so far: a lower one comes from a lagging replica
        self._doubts = 0
        self.shard = shard

    @classmethod
    async def claim(cls, bus: Bus, service: str, shards: int, holder: str) -> Self:
        """Claim the first shard that is free or already belongs to this holder. Waits until there is one.

        Args:
            holder: unique, and the same after a restart: the name of the Pod or of the host.
        """
        said = False
        while True:
            for shard in range(shards):
                lease = cls(bus, service, holder, shard)
                if await patiently(bus, lease._take):
                    log.info("shard_claimed", shard=shard, shards=shards, holder=holder)
                    return lease
            if not said:
                log.info("standing_by", shards=shards, holder=holder)
                said = True
            await asyncio.sleep(_RENEW_S)

    async def hold(self) -> None:
        """Renew the lease forever.

        Raises:
            LeaseLost: another holder has it.
        """
        while True:
            await asyncio.sleep(_RENEW_S)
            if not await patiently(self._bus, self._take):
                raise LeaseLost(
                    f"{self._key}: another replica than {self._holder} holds it, so this one must not write"
                )

    async def release(self) -> None:
        """Free the shard at once for the next holder; if the server is down, the lease expires by itself."""
        try:
            bucket = await self._bus.js.key_value(BUCKET)
            await bucket.delete(self._key, last=self._revision)
        except nats.errors.Error as error:
            log.info("lease_not_released", key=self._key, error=repr(error))

    async def _take(self) -> bool:
        """Claim or renew the key; True if it is ours.

        Raises:
            ServiceUnavailableError: the answer did not come from the leader of the bucket's replicas: ask again.
        """
        bucket = await self._bucket()
        value = self._holder.encode()
        try:
            self._renewed(
                await bucket.update(self._key, value, last=self._revision)
                if self._revision
                else await bucket.create(self._key, value)
            )
        except KeyWrongLastSequenceError:
            return await self._retake(bucket, value)
        except KeyNotFoundError as error:  # as in _create
            raise _lags(self._key) from error
        return True

    async def _retake(self, bucket: KeyValue, value: bytes) -> bool:
        """Handle a key with another revision: ours from before, another holder's, or expired and free."""
        self._revision = 0
        try:
            there = await bucket.get(self._key)
            if (there.revision or 0) < self._latest and self._doubts < _MOST_DOUBTS:
                self._doubts += 1
                raise _lags(self._key)
            if there.value != value:
                return False
            self._renewed(await bucket.update(self._key, value, last=there.revision))
        except (KeyNotFoundError, NoKeysError):
            return await self._create(bucket, value)
        except KeyWrongLastSequenceError as error:  # just now, or on another replica
            raise _lags(self._key) from error
        return True

    async def _create(self, bucket: KeyValue, value: bytes) -> bool:
        try:
            self._renewed(await bucket.create(self._key, value))
        except (KeyWrongLastSequenceError, KeyNotFoundError) as error:  # the replicas differ
            raise _lags(self._key) from error
        return True

    def _renewed(self, revision: int) -> None:
        self._revision, self._latest, self._doubts = revision, revision, 0

    async def _bucket(self) -> KeyValue:
        try:
            return await self._bus.js.key_value(BUCKET)
        except (BucketNotFoundError, NotFoundError) as error:
            if not self._bus.owns_streams:
                raise ServiceUnavailableError from error  # not our error: its owner creates it
            return await make_bucket(self._bus)


async def make_bucket(bus: Bus) -> KeyValue:
    """Create the bucket. Idempotent."""
    return await bus.js.create_key_value(
        api.KeyValueConfig(
            bucket=BUCKET,
            ttl=TTL_S,
            storage=api.StorageType.FILE,
            replicas=bus.limits.replicas,
            max_bytes=1 << 20,
        )
    )
