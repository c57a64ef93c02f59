"""One life of the engine: its process, and the switch and ports by which it is controlled and probed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

from sluice.dataplane.l7.engine import CLOSED_TENANT
from sluice.dataplane.l7.tenants import Load, Replace, Step
from sluice.drivers.openflow.errors import SwitchGone
from sluice.drivers.openflow.switch import Switch
from sluice.drivers.suricata.nudging import Nudges
from sluice.drivers.suricata.probing import MOST, Prober
from sluice.drivers.suricata.taps import Taps
from sluice.services.node_l7.process import EngineFailed, EngineProcess, put_aside
from sluice.services.node_l7.settings import NodeL7Settings

T = TypeVar("T")

PROBES = 8
"""How many times a tenant is probed for its rules before the engine is considered broken."""


class Life:
    """A running engine."""

    def __init__(self, process: EngineProcess, switch: Switch, prober: Prober, nudges: Nudges, port_in: int) -> None:
        self._process, self._switch = process, switch
        self._prober, self._nudges, self._port_in = prober, nudges, port_in
        self._ended = asyncio.ensure_future(process.ended())

    @classmethod
    @asynccontextmanager
    async def begun(cls, settings: NodeL7Settings) -> AsyncIterator["Life"]:
        """Start an engine that is stopped on exit. Its files must be written already.

        Raises:
            EngineFailed: it does not start.
            OSError, RpcGone, SwitchGone, TransactionRefused, PortFailed, NotApplied: the switch is away, or the
                engine's ports cannot be created.
        """
        run_dir = Path(settings.run_dir)
        netns = Path(settings.netns) if settings.netns else None
        taps = await Taps.ensure(run_dir / "db.sock", settings.bridge, settings.tap_in, settings.tap_out, netns)
        async with AsyncExitStack() as stack:
            process = await EngineProcess.start(settings.engine, settings.program, netns)
            stack.push_async_callback(process.stop)
            switch = await Switch.connect(run_dir / f"{settings.bridge}.mgmt")
            stack.callback(switch.close)
            prober = Prober(taps.tap_out, netns)
            stack.callback(prober.close)
            nudges = Nudges((taps.tap_in, taps.tap_out), netns)
            stack.callback(nudges.close)
            life = cls(process, switch, prober, nudges, taps.port_in)
            stack.push_async_callback(put_aside, life._ended)
            yield life

    @property
    def pid(self) -> int:
        return self._process.pid

    async def tell(self, step: Step) -> None:
        """Have the engine carry out the step, and return once it confirms. The step's files must be written already.

        Raises:
            EngineRefused: it did not do it.
            EngineGone: it ended or did not answer.
        """
        call, tenant = self._process.commands.call, self._process.engine.tenant
        async with self._nudges.given():
            match step:
                case Load(vlan, _):
                    await call("register-tenant", id=vlan, filename=tenant(vlan))
                    await call("unregister-tenant-handler", id=CLOSED_TENANT, htype="vlan", hargs=vlan)
                    await call("register-tenant-handler", id=vlan, htype="vlan", hargs=vlan)
                case Replace(vlan, _):
                    await call("reload-tenant", id=vlan, filename=tenant(vlan))

    async def show(self, digests: Mapping[int, str], shown: Callable[[int], None]) -> None:
        """Verify by probe packets that each VLAN has the rule set with this digest; calls `shown` for each that has.

        Raises:
            EngineFailed: a VLAN does not have it.
        """
        left = dict(digests)
        for _ in range(PROBES):
            asked, left = left, {}
            for begin in range(0, len(asked), MOST):
                some = dict(islice(asked.items(), begin, begin + MOST))
                found = await self._prober.shown(self._switch, self._port_in, some)
                for vlan in sorted(found):
                    shown(vlan)
                left |= {vlan: digest for vlan, digest in some.items() if vlan not in found}
            if not left:
                return
        vlan, digest = next(iter(left.items()))
        raise EngineFailed(f"VLAN {vlan}: the engine did not load the rules {digest}")

    async def during(self, work: Coroutine[None, None, T]) -> T:
        """Return the result of the work, which is cancelled as soon as the engine or the switch is gone.

        Raises:
            EngineFailed: the engine ended, was stopped, or does not answer.
            SwitchGone: the switch went away.
        """
        task = asyncio.ensure_future(work)
        try:
            await asyncio.wait((task, self._ended, self._switch.closed), return_when=asyncio.FIRST_COMPLETED)
            if self._ended.done():
                raise EngineFailed(self._ended.result())
            if self._switch.closed.done():
                raise SwitchGone(self._switch.closed.result())
            return task.result()
        finally:
            await put_aside(task)
