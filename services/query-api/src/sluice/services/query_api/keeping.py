"""The keeper of the ledger's checkpoints: one elected replica folds LEDGER and stores checkpoints of the result."""

import asyncio
from contextlib import suppress

import structlog
from nats.js import api
from nats.js.errors import BadRequestError, NotFoundError

from sluice.contracts import codec, subjects
from sluice.contracts.codec import Undecodable
from sluice.contracts.streams import CHECKPOINTS, LEDGER
from sluice.ledger.chain import Entry
from sluice.ledger.state import BadState
from sluice.ledger.weaving import Made, Weaver
from sluice.runtime import past, streams
from sluice.runtime.bus import Bus
from sluice.runtime.follow import CaughtUp, NewEpoch, follow
from sluice.runtime.lease import Lease, LeaseLost
from sluice.runtime.linting import beside
from sluice.runtime.message import Message
from sluice.runtime.metrics import METRICS
from sluice.runtime.patience import patiently

log = structlog.get_logger()

_WRONG_LAST_SEQUENCE = 10071  # JSStreamWrongLastSequenceErrF: the subject has a message already

_made = METRICS.counter("sluice_ledger_checkpoints_total", "Checkpoints that were stored")
_last = METRICS.gauge("sluice_ledger_checkpoint_sequence", "Sequence of LEDGER that the newest checkpoint covers")
_folded = METRICS.gauge("sluice_ledger_folded_sequence", "Sequence of LEDGER that the keeper has folded")


class Superseded(RuntimeError):
    """Another keeper has stored something different: what is stored is valid, and this one restarts from it."""


class Keeper:
    """Stands by until elected, then keeps checkpoints; `elected` is set meanwhile."""

    def __init__(self, bus: Bus, service: str, holder: str, every: int) -> None:
        self._bus, self._service, self._holder, self._every = bus, service, holder, every
        self.elected = asyncio.Event()

    async def run(self) -> None:
        """Never returns."""
        await streams.ensure(self._bus)
        while True:
            lease = await Lease.claim(self._bus, self._service, 1, self._holder)
            self.elected.set()
            try:
                await self._under(lease)
            finally:
                self.elected.clear()
                await lease.release()

    async def _under(self, lease: Lease) -> None:
        """Keep checkpoints until the lease is lost or another keeper has stored something different."""
        keeping = asyncio.create_task(self._keep(), name="checkpoints")
        holding = asyncio.create_task(lease.hold(), name="lease")
        try:
            done, _ = await asyncio.wait((keeping, holding), return_when=asyncio.FIRST_COMPLETED)
            for one in done:
                with suppress(LeaseLost, Superseded):
                    one.result()
                    raise AssertionError("keeping and holding are endless")
        finally:
            for one in (keeping, holding):
                one.cancel()
            await asyncio.gather(keeping, holding, return_exceptions=True)

    async def _keep(self) -> None:
        weaver = await self._resumed()
        log.info("ledger_kept", epoch=weaver.epoch, after=weaver.last)
        async with follow(self._bus, LEDGER.name, after=weaver.last) as events:
            async for event in events:
                match event:
                    case Message(subject=subject, body=body, revision=revision, time_ns=time_ns):
                        if revision.epoch != weaver.epoch:
                            raise Superseded("LEDGER was made anew")
                        due = weaver.take(Entry(revision.sequence, subject, body, time_ns))
                        _folded.set(weaver.last)
                        if due:
                            await self._store(await beside(due.make))
                    case NewEpoch():
                        raise Superseded("LEDGER was made anew")
                    case CaughtUp():
                        pass

    async def _resumed(self) -> Weaver:
        """A weaver that resumes from the newest checkpoint with a readable state, or starts where LEDGER does."""
        here = await past.reach(self._bus)
        try:
            known = await past.checkpoints(self._bus, here.epoch)
        except Undecodable as error:
            log.error("checkpoints_unreadable", reason=str(error))
            known = []
        for one in reversed(known):
            if one.last > here.last or one.last + 1 < here.first:
                continue
            try:
                return Weaver.resumed(one, await past.state_at(self._bus, one), every=self._every)
            except (BadState, Undecodable) as error:
                log.error("checkpoint_unreadable", sequence=one.last, reason=str(error))
        return Weaver.from_middle(here.epoch, here.first, every=self._every)

    async def _store(self, made: Made) -> None:
        """Store the parts of the state, then the checkpoint: if that is found, everything is there.

        Raises:
            Superseded
        """
        epoch, last = made.checkpoint.epoch, made.checkpoint.last
        for number, part in enumerate(made.parts):
            await self._put(subjects.state_part(epoch, last, number), codec.encode(part))
        await self._put(subjects.checkpoint(epoch, last), codec.encode(made.checkpoint))
        _made.add(1)
        _last.set(last)
        log.info("checkpoint_stored", sequence=last, head=made.checkpoint.head, objects=made.checkpoint.objects)

    async def _put(self, subject: str, body: bytes) -> None:
        headers = {api.Header.EXPECTED_LAST_SUBJECT_SEQUENCE.value: "0"}

        async def put() -> None:
            try:
                await self._bus.js.publish(subject, body, stream=CHECKPOINTS.name, headers=headers)
            except BadRequestError as error:
                if error.err_code != _WRONG_LAST_SEQUENCE or await self._stored(subject) != body:
                    raise Superseded(f"{subject}: {error.description}") from error

        await patiently(self._bus, put)

    async def _stored(self, subject: str) -> bytes:
        try:
            return (await self._bus.js.get_last_msg(CHECKPOINTS.name, subject)).data or b""
        except NotFoundError:
            return b""
