"""Leader election: of several replicas, only the one that holds a Lease is active.

Another replica takes over if the holder has not renewed the Lease for `duration_s` on that replica's own clock: clocks
of different machines are never compared. The holder stops earlier, after `deadline_s`, so that no two replicas believe
to hold it at the same time. Preventing stale writes all the same is the job of the writers' fences.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import structlog
from msgspec import Struct

from sluice.contracts.kinds import Resource
from sluice.drivers.kubernetes.client import Client, Refused, Unreachable, path

log = structlog.get_logger()

LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases", namespaced=True, written=False)


class Timing(Struct, frozen=True, kw_only=True):
    """The defaults are those of Kubernetes' own components (client-go, tools/leaderelection)."""

    duration_s: float = 15.0
    deadline_s: float = 10.0
    retry_s: float = 2.0


class LeaseLost(RuntimeError):
    """Another replica holds the Lease, or may hold it: stop and stand by."""


class _Spec(Struct, rename="camel", omit_defaults=True):
    holder_identity: str = ""
    lease_duration_seconds: int = 0
    acquire_time: str = ""
    renew_time: str = ""
    lease_transitions: int = 0


class _Meta(Struct, rename="camel", omit_defaults=True):
    name: str
    namespace: str = ""
    resource_version: str = ""
    uid: str = ""


class _Lease(Struct, rename="camel"):
    metadata: _Meta
    spec: _Spec = msgspec.field(default_factory=_Spec)
    api_version: str = LEASES.api_version
    kind: str = LEASES.kind


DEFAULT = Timing()


def _boot_s() -> float:
    """A clock that keeps counting while the machine is suspended, where available."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Lease:
    """A Lease of this name, from the point of view of one replica."""

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        holder: str,
        timing: Timing = DEFAULT,
        clock: Callable[[], float] = _boot_s,
    ) -> None:
        """`holder`: unique among the replicas, such as the Pod's name."""
        self._client, self._namespace, self._name, self._holder = client, namespace, name, holder
        self._timing, self._clock = timing, clock
        self._path = path(LEASES, namespace, name)
        self._seen: tuple[str, str, float] = ("", "", 0.0)  # holder and renewal time as last observed, and since when
        self._renewed_s = float("-inf")

    @property
    def held(self) -> bool:
        """Whether it is certain now that no other replica holds the Lease."""
        return self._clock() < self._renewed_s + self._timing.deadline_s

    def check(self) -> None:
        """Return if the Lease is held.

        Raises:
            LeaseLost: another replica may hold it.
        """
        if not self.held:
            raise LeaseLost(f"{self._path}: not renewed for {self._timing.deadline_s:g} s; another may hold it by now")

    async def claim(self) -> None:
        """Return once the Lease is held; waits forever."""
        said = ""
        while True:
            try:
                if await self._take():
                    log.info("lease_claimed", lease=self._path, holder=self._holder)
                    return
                told = f"{self._seen[0]} holds it"
            except (Refused, Unreachable) as error:
                told = str(error)
            if told != said:
                log.info("standing_by", lease=self._path, holder=self._holder, reason=told)
                said = told
            await asyncio.sleep(self._timing.retry_s)

    async def hold(self) -> None:
        """Keep renewing the Lease, forever.

        Raises:
            LeaseLost: another replica holds it, or may hold it.
        """
        while True:
            await asyncio.sleep(min(self._timing.retry_s, max(0.0, self._left_s())))
            self.check()
            try:
                async with asyncio.timeout(max(0.0, self._left_s())):
                    # A conflict only means that somebody updated the object; the next read shows who holds it.
                    if not await self._take() and self._seen[0] != self._holder:
                        raise LeaseLost(f"{self._path}: {self._seen[0]} holds it; {self._holder} must not write")
            except (Refused, Unreachable, TimeoutError) as error:
                log.warning("lease_not_renewed", lease=self._path, reason=str(error), left_s=self._left_s())

    async def release(self) -> None:
        """Give the Lease up, so that another replica can take it at once."""
        if not self.held:
            return
        self._renewed_s = float("-inf")
        try:
            lease = await self._read()
            if lease is not None and lease.spec.holder_identity == self._holder:
                lease.spec.holder_identity = ""
                await self._client.ask("PUT", self._path, body=msgspec.json.encode(lease))
        except (Refused, Unreachable) as error:
            log.info("lease_not_released", lease=self._path, reason=str(error))

    def _left_s(self) -> float:
        return self._renewed_s + self._timing.deadline_s - self._clock()

    async def _take(self) -> bool:
        """Whether the Lease is ours and renewed; its time counts from before the request."""
        began_s = self._clock()
        lease = await self._read()
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if lease is None:
            spec = _Spec(holder_identity=self._holder, acquire_time=now, renew_time=now)
            return await self._write("POST", _Lease(_Meta(self._name, self._namespace), spec), began_s)
        spec = lease.spec
        if self._seen[:2] != (spec.holder_identity, spec.renew_time):
            self._seen = spec.holder_identity, spec.renew_time, began_s
        if spec.holder_identity not in ("", self._holder):
            duration_s = max(float(spec.lease_duration_seconds), self._timing.duration_s)
            if began_s < self._seen[2] + duration_s:
                return False
        if spec.holder_identity != self._holder:
            spec.holder_identity, spec.acquire_time = self._holder, now
            spec.lease_transitions += 1
        spec.renew_time = now
        return await self._write("PUT", lease, began_s)

    async def _read(self) -> _Lease | None:
        try:
            return msgspec.json.decode(await self._client.ask("GET", self._path), type=_Lease)
        except Refused as error:
            if error.code == 404:
                return None
            raise
        except msgspec.MsgspecError as error:
            raise Unreachable(f"{self._path}: an answer that is no Lease: {error}") from error

    async def _write(self, method: str, lease: _Lease, began_s: float) -> bool:
        """True if it is stored; false if another writer was faster."""
        lease.spec.lease_duration_seconds = max(1, round(self._timing.duration_s))
        target = path(LEASES, self._namespace) if method == "POST" else self._path
        try:
            await self._client.ask(method, target, body=msgspec.json.encode(lease))
        except Refused as error:
            if error.code == 409:
                return False
            raise
        self._renewed_s = began_s
        return True
