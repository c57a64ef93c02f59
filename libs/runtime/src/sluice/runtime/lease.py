"""Ownership of a shard: a key in a KV bucket that expires unless its holder renews it.

The lease only keeps two processes from working against each other. Protection against overwriting is up to the fences
in `output`, so a holder that cannot renew because the server is away continues: it cannot write either.
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
"""A holder that ended without a word is succeeded after this; one that comes back under its name at once."""

_RENEW_S = TTL_S / 4
_MOST_DOUBTS = 8  # in a row, four seconds: then the bucket was made anew, and counts from the beginning


class LeaseLost(RuntimeError):
    """Somebody else holds the shard: stop writing, and stand by."""


def _lags(key: str) -> ServiceUnavailableError:
    return ServiceUnavailableError(description=f"{key}: a replica lags behind, or somebody writes it this very moment")


class Lease:
    """One of the shards of a service, held by one run of it."""

    def __init__(self, bus: Bus, service: str, holder: str, shard: int) -> None:
        self._bus, self._holder = bus, holder
        self._key = f"{service}.{shard}"
        self._revision = 0
        self._latest = 0  # that was ever ours: an earlier one is what a lagging replica has
        self._doubts = 0
        self.shard = shard

    @classmethod
    async def claim(cls, bus: Bus, service: str, shards: int, holder: str) -> Self:
        """The first shard that is free, or was this holder's before. Waits until there is one.

        Args:
            holder: the same after a restart, and no other's: the Pod's name, the host's.
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
        """Renew it for ever.

        Raises:
            LeaseLost: somebody else holds it.
        """
        while True:
            await asyncio.sleep(_RENEW_S)
            if not await patiently(self._bus, self._take):
                raise LeaseLost(f"{self._key}: somebody else than {self._holder} holds it; this one must not write")

    async def release(self) -> None:
        """The next may have it at once. If the server is away, when it ends by itself."""
        try:
            bucket = await self._bus.js.key_value(BUCKET)
            await bucket.delete(self._key, last=self._revision)
        except nats.errors.Error as error:
            log.info("lease_not_released", key=self._key, error=repr(error))

    async def _take(self) -> bool:
        """True if the key is ours, renewed now.

        Raises:
            ServiceUnavailableError: what was read is not what the leader of the bucket's replicas has: ask again.
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
        """It is there with another revision, ours from before or somebody else's; or it ended, and is free."""
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
        except KeyWrongLastSequenceError as error:  # this very moment, or on another replica
            raise _lags(self._key) from error
        return True

    async def _create(self, bucket: KeyValue, value: bytes) -> bool:
        try:
            self._renewed(await bucket.create(self._key, value))
        except (KeyWrongLastSequenceError, KeyNotFoundError) as error:  # one replica has it, another does not
            raise _lags(self._key) from error
        return True

    def _renewed(self, revision: int) -> None:
        self._revision, self._latest, self._doubts = revision, revision, 0

    async def _bucket(self) -> KeyValue:
        try:
            return await self._bus.js.key_value(BUCKET)
        except (BucketNotFoundError, NotFoundError) as error:
            if not self._bus.owns_streams:
                raise ServiceUnavailableError from error  # world trouble: its owner makes it
            return await make_bucket(self._bus)


async def make_bucket(bus: Bus) -> KeyValue:
    """The bucket is there. Idempotent."""
    return await bus.js.create_key_value(
        api.KeyValueConfig(
            bucket=BUCKET,
            ttl=TTL_S,
            storage=api.StorageType.FILE,
            replicas=bus.limits.replicas,
            max_bytes=1 << 20,
        )
    )
