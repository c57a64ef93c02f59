"""The shell: connects the bus, the switch and the engine, and carries out the tenants' plan.

The hand-over file is updated before anything is taken from the engine, and after something was verified to be in it, so
it never claims more than is true.
"""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic

import structlog

from sluice.contracts import codec, subjects
from sluice.contracts.ids import NodeName, Unit
from sluice.contracts.status import NodeStatus, Problem
from sluice.dataplane.l7 import handover
from sluice.dataplane.l7.engine import CLOSED_TENANT, configuration_text
from sluice.dataplane.l7.ruleset import CLOSED
from sluice.dataplane.l7.tenants import Replace, Step, Tenants, described
from sluice.drivers.jsonrpc import RpcGone
from sluice.drivers.openflow.errors import SwitchGone
from sluice.drivers.ovsdb.client import NotApplied, PortFailed, TransactionRefused
from sluice.drivers.suricata.checking import MOST, refusals
from sluice.drivers.suricata.commands import EngineGone, EngineRefused
from sluice.runtime.bus import Bus
from sluice.runtime.feed import Feed
from sluice.runtime.metrics import METRICS
from sluice.runtime.output import Output
from sluice.runtime.telling import Telling
from sluice.services.node_l7 import files
from sluice.services.node_l7.asked import Asked
from sluice.services.node_l7.eventlog import EventLog
from sluice.services.node_l7.explaining import Explaining
from sluice.services.node_l7.life import Life
from sluice.services.node_l7.patience import Patience
from sluice.services.node_l7.process import EngineFailed, sweep
from sluice.services.node_l7.settings import NodeL7Settings

log = structlog.get_logger()

_starts = METRICS.counter("sluice_node_l7_engine_starts_total", "How often the inspection engine was started")

SYNC_S = 2.0
"""How long the bus may take to say what is required before an engine starts with the saved tenants. If none are saved,
it waits without limit: an engine without tenants judges nothing."""

LOGS_INTERVAL_S = 60.0


class Shell:
    def __init__(self, settings: NodeL7Settings, bus: Bus) -> None:
        self._settings, self._bus = settings, bus
        self._node = NodeName(settings.node_name)
        self._engine = settings.engine
        self._state = Path(settings.state_dir) / "tenants.json"
        kept, trouble = files.load_kept(self._state)
        if trouble:
            log.error("tenants_refused", file=str(self._state), error=trouble, instead="VLANs are assigned anew")
        self._tenants = Tenants(kept)
        self._files = files.TenantFiles(self._engine)
        self._events = EventLog(
            Path(self._engine.events),
            Path(settings.log_dir),
            Path(settings.state_dir) / "events.json",
            days=settings.log_days,
            size_bytes=settings.log_bytes,
        )
        self._asked = Asked(self._node)
        self._feed = Feed(bus, self._asked, resync_s=settings.resync_interval_s, told=self._told_something)
        self._news, self._told = asyncio.Event(), asyncio.Event()
        self._said: bytes | None = None
        self._loadable: set[str] = set()
        """Digests of the rule sets that passed the check."""

        self._running = False
        self._detail = "the engine is not started yet"

    @property
    def ready(self) -> bool:
        return self._running and self._asked.in_sync and not self._tenants.waiting

    async def run(self) -> None:
        """Run until cancelled."""
        self._publish()
        sweep(self._engine)
        async with asyncio.TaskGroup() as tasks:
            for task in (self._feed.run, self._drive, self._report, self._events.run, self._forget_events):
                tasks.create_task(task(), name=task.__name__.strip("_"))
            explaining = Explaining(self._asked, self._tenants)
            tasks.create_task(Telling(self._bus, self._node, "l7", explaining).run(), name="telling")

    # --------------------------------------------------------------------------------------------------------- bus

    def _told_something(self) -> None:
        if self._asked.advance(monotonic()):
            self._tenants.want(self._asked.rule_sets)
            self._publish()  # removals are published at once, whatever the engine is busy with
            self._news.set()
            self._feed.tell_interests()
        self._told.set()

    async def _report(self) -> None:
        """Report to the bus what is in force, on every change."""
        subject = subjects.status(self._node, "l7")
        async with await Output.open(self._bus, "STATUS", [subject]) as output:
            while True:
                await self._told.wait()
                self._told.clear()
                output.put(subject, self._status())
                await output.settled()

    def _status(self) -> NodeStatus:
        return NodeStatus(
            node=self._node,
            backend="l7",
            applied=self._asked.upto,
            healthy=self._running,
            detail=self._detail,
            problems=tuple(sorted(self._problems())),
        )

    def _problems(self) -> list[Problem]:
        failed = {subject.unit: (subject, why) for subject, why in sorted(self._tenants.problems.items())}
        found = [
            Problem(unit=unit, state="failed", reason=f"{unit} {subject.direction} rule {subject.rule}: {why}")
            for unit, (subject, why) in failed.items()
        ]
        waiting: set[Unit] = {subject.unit for subject in self._tenants.waiting} - failed.keys()
        found += [
            Problem(
                unit=unit, state="waiting", reason=f"{unit}: the engine has not confirmed its rules yet; check node-l7"
            )
            for unit in waiting
        ]
        return [*found, *self._asked.unread]

    # ------------------------------------------------------------------------------------------------------ engine

    async def _drive(self) -> None:
        """Keep an engine running; while there is none, the hand-over file is empty. Never returns."""
        with contextlib.suppress(TimeoutError):  # loading many tenants at start is much faster
            async with asyncio.timeout(SYNC_S if self._tenants.kept().vlans else None):
                await self._news.wait()
        patience = Patience()
        while True:
            since, failed = monotonic(), False
            try:
                await self._live()
            except (EngineFailed, EngineGone, EngineRefused) as error:
                self._detail, failed = str(error), True
            except (OSError, RpcGone, SwitchGone, TransactionRefused, PortFailed, NotApplied) as error:
                self._detail = str(error)
            finally:  # also when we end: nobody monitors the engine then
                self._running = False
                self._tenants.engine_ended()
                self._publish()
            pause_s = patience.after(monotonic() - since, failed=failed)
            log.error(
                "engine_ended",
                reason=self._detail,
                next_start_in_s=pause_s,
                meanwhile="traffic to be inspected is dropped",
            )
            await asyncio.sleep(pause_s)

    async def _live(self) -> None:
        """One life of the engine. Raises when it no longer works."""
        await self._prepare()
        async with Life.begun(self._settings) as life:
            _starts.add(1)
            self._running, self._detail = True, ""
            log.info("engine_started", pid=life.pid, tenants=len(self._tenants.unverified()))
            while True:
                self._news.clear()
                try:
                    await life.during(self._bring_up_to_date(life))
                except EngineFailed:
                    self._files.forget()
                    raise
                await life.during(self._news.wait())

    async def _prepare(self) -> None:
        """Write all files that the engine starts with."""
        closes = Replace(CLOSED_TENANT, CLOSED)
        for some in _batches((closes, *self._tenants.steps())):
            loadable = await self._checked(some)
            if closes in some and closes not in loadable:
                raise EngineFailed(
                    "the engine refuses even the rules of unused VLANs, or cannot be run: see rules_refused in the log"
                )
            for step in loadable:
                if step != closes:
                    self._tenants.prepared(step)
        kept = self._tenants.kept()
        for vlan, rules in (*kept.vlans, (CLOSED_TENANT, CLOSED)):
            self._files.write(vlan, rules)
        Path(self._engine.events).mkdir(parents=True, exist_ok=True)
        files.replace(Path(self._engine.configuration), configuration_text(self._engine, dict(kept.vlans)))
        files.replace(self._state, codec.encode(kept))

    async def _bring_up_to_date(self, life: Life) -> None:
        """Bring the engine to what is required, batch by batch, and update the file after each."""
        self._publish()  # first withdraw what must no longer be used
        await self._show(life)
        while some := self._tenants.steps()[:MOST]:
            for step in await self._checked(some):
                started = monotonic()
                self._files.write(step.vlan, step.rules)
                await life.tell(step)
                self._tenants.done(step)
                log.info("tenant_changed", step=described(step), elapsed_ms=round(1000 * (monotonic() - started)))
            files.replace(self._state, codec.encode(self._tenants.kept()))
            await self._show(life)

    async def _checked(self, steps: Sequence[Step]) -> list[Step]:
        """The steps whose rules the engine can load. Rules are checked only once, so closing waits for no check."""
        texts = {step: step.rules.text for step in steps if step.rules.digest not in self._loadable}
        refused = await refusals(texts, program=self._settings.program)
        self._loadable |= {step.rules.digest for step in texts.keys() - refused.keys()}
        for step, error in refused.items():
            self._tenants.refused(step, f"the engine refuses its rules: {error}")
            log.error("rules_refused", step=described(step), error=error, kept="the previous rules")
        return [step for step in steps if step not in refused]

    async def _show(self, life: Life) -> None:
        """Verify by probe packets that every tenant has its rules, and update the file."""
        holds = dict(self._tenants.kept().vlans)
        unverified = self._tenants.unverified()
        for vlan in unverified:
            if holds[vlan] == CLOSED:
                self._tenants.shown(vlan)
        digests = {vlan: holds[vlan].digest for vlan in unverified if holds[vlan] != CLOSED}
        try:
            await life.show(digests, self._tenants.shown)
        finally:
            self._publish()

    def _publish(self) -> None:
        """Write the hand-over file with exactly what is in force."""
        verified = self._tenants.verified if self._running else {}
        value = handover.HandOver(
            tap_in=self._settings.tap_in,
            tap_out=self._settings.tap_out,
            vlans=verified,
            deserted=self._tenants.deserted,
        )
        body = handover.write(value)
        if body != self._said:
            files.replace(Path(self._settings.hand_over), body)
            self._said = body
        self._told.set()

    # -------------------------------------------------------------------------------------------------------- logs

    async def _forget_events(self) -> None:
        while True:
            self._events.forget()
            await asyncio.sleep(LOGS_INTERVAL_S)


def _batches(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    """All steps, in batches of the size that is checked at once."""
    return (steps[begin : begin + MOST] for begin in range(0, len(steps), MOST))
