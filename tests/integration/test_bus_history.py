"""Verdicts of the past are what was told live: at random sequences of a random history, through restarts and ageing."""

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.integration.conftest import Source
from tests.integration.test_bus_query_api import until

from sluice.cli import plan
from sluice.contracts import codec, subjects
from sluice.contracts.audit import FlowDecision
from sluice.contracts.ids import Address
from sluice.contracts.kinds import Kind
from sluice.contracts.ledger import Checkpoint
from sluice.contracts.objects import AnyObject, Pod
from sluice.grouping.events import ObjectKey
from sluice.ledger.history import TooOld
from sluice.policy import whatif
from sluice.policy.ends import NoSuchEnd
from sluice.policy.packet import Packet, PodEnd
from sluice.policy.past import cluster
from sluice.policy.state import ClusterState
from sluice.policy.verdict import Outcome, verdict
from sluice.runtime import past
from sluice.runtime.bus import Bus
from sluice.runtime.natsserver import NatsServer
from sluice.services.query_api.keeping import Keeper
from sluice.services.query_api.mirrors import Objects
from sluice.testkit.builders import acnp, namespace, netpol, pod

EVENTS = int(os.environ.get("SLUICE_HISTORY_EVENTS", "300"))
PROBES = EVENTS // 2
PODS = "abcdef"
SPECS: tuple[dict[str, Any], ...] = (
    {"podSelector": {}},
    {"podSelector": {"matchLabels": {"app": "v1"}}, "ingress": [{"from": [{"podSelector": {}}]}]},
    {"podSelector": {"matchLabels": {"app": "v2"}}, "policyTypes": ["Egress"]},
    {"podSelector": {}, "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "v1"}}}]}]},
    {"podSelector": {}, "ingress": [{"ports": [{"port": 80}]}]},
)
RULES: tuple[dict[str, Any], ...] = (
    {"ingress": [{"action": "Drop", "from": [{"podSelector": {"matchLabels": {"app": "v2"}}}]}]},
    {"egress": [{"action": "Reject", "to": [{"podSelector": {"matchLabels": {"app": "v1"}}}]}]},
    {"ingress": [{"action": "Allow", "ports": [{"port": 80, "protocol": "TCP"}]}]},
)


class Gone(NamedTuple):
    """An object that is deleted."""

    key: ObjectKey


Told = tuple[Packet, Outcome | None]


def told(state: ClusterState, packet: Packet) -> Outcome | None:
    try:
        return verdict(state, packet).outcome
    except NoSuchEnd:
        return None


def changes(chance: random.Random) -> Iterator[AnyObject | Gone]:
    """Endless: an object that is put, or the key of one that goes."""
    while True:
        name, app = chance.choice(PODS), chance.choice(("v1", "v2"))
        number = chance.randrange(3)
        match chance.randrange(6):
            case 0:
                yield Gone(ObjectKey(Kind.POD, "x", name))
            case 1:
                yield Gone(ObjectKey(Kind.K8S_NETWORK_POLICY, "x", str(number)))
            case 2:
                yield Gone(ObjectKey(Kind.CLUSTER_NETWORK_POLICY, "", str(number)))
            case 3:
                yield netpol(f"x/{number}", chance.choice(SPECS))
            case 4:
                applied = {"appliedTo": [{"podSelector": {"matchLabels": {"app": app}}}]}
                yield acnp(str(number), {"priority": 1 + number, **applied, **chance.choice(RULES)})
            case _:
                yield pod(f"x/{name}", ip=f"10.0.0.{1 + PODS.index(name)}", app=app, uid=f"{name}-{app}")


def packet(chance: random.Random) -> Packet:
    source, destination = chance.sample(PODS, 2)
    return Packet(
        source=PodEnd("x", source), destination=PodEnd("x", destination), protocol="TCP", port=chance.choice((80, 443))
    )


async def test_the_past_is_what_was_told_live(server: NatsServer, source: Source, bus: Bus) -> None:
    chance = random.Random(20_260_704)  # a story, not a secret
    live = Objects(bus)
    keeper = Keeper(bus, "query-api", "one", every=max(10, EVENTS // 20))
    running = [asyncio.create_task(live.run()), asyncio.create_task(keeper.run())]
    told_live: dict[int, list[Told]] = {}
    try:
        await source.put(namespace("x"))
        story = changes(chance)
        for number in range(EVENTS):
            change = next(story)
            at = await (source.delete(change.key) if isinstance(change, Gone) else source.put(change))

            async def caught_up(sequence: int = at.sequence) -> bool:
                return live.upto.sequence >= sequence

            await until(caught_up)
            probes = [packet(chance) for _ in range(5)]
            told_live[at.sequence] = [(probe, told(live.cluster, probe)) for probe in probes]
            if number in (EVENTS // 3, 2 * EVENTS // 3):
                await server.restart()
        made = await _kept(bus, every=max(10, EVENTS // 20))
        last = max(told_live)
        gone = last // 4
        await bus.js.purge_stream("LEDGER", seq=gone)

        asked = chance.choices(sorted(told_live), k=max(10, PROBES // 5))
        answered = 0
        for sequence in asked:
            try:
                there = await past.moment(bus, sequence)
            except TooOld:
                assert sequence < next(one.last for one in made if one.last >= gone - 1)
                continue
            state = cluster(there.held, there.epoch)
            for probe, outcome in told_live[sequence]:
                assert told(state, probe) == outcome, (sequence, probe)
                answered += 1
        assert answered > len(asked) * 3
        assert not (await past.verified(bus)).findings
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _kept(bus: Bus, every: int) -> list[Checkpoint]:
    """The checkpoints, once they reach to the end."""
    here = await past.reach(bus)

    async def reached() -> bool:
        made = await past.checkpoints(bus, here.epoch)
        return bool(made) and made[-1].last > here.last - every

    await until(reached)
    return await past.checkpoints(bus, here.epoch)


async def test_a_plan_names_the_connections_that_end_otherwise_and_no_others(
    server: NatsServer, source: Source, bus: Bus, tmp_path: Path
) -> None:
    chance = random.Random(20_270_101)  # a story, not a secret
    live = Objects(bus)
    running = asyncio.create_task(live.run())
    addresses = {name: f"10.0.0.{1 + PODS.index(name)}" for name in PODS}
    try:
        await source.put(namespace("x"))
        for name in PODS:
            await source.put(pod(f"x/{name}", ip=addresses[name], app=chance.choice(("v1", "v2")), uid=name))
        pairs = [(one, other, port) for one in PODS for other in PODS for port in (80, 443) if one != other]
        await source.listed()
        changed = 0
        for _ in range(EVENTS // 10):
            change = next(each for each in changes(chance) if not _about_a_pod(each))
            logged = [decided(addresses[one], addresses[other], port) for one, other, port in chance.sample(pairs, 20)]
            there = await past.moment(bus)
            if isinstance(change, Gone):
                gone = {change.key: ""} if subjects.object_(*change.key) in there.held.held else {}
                before, after = plan.on_top(there, (), gone)
            else:
                (tmp_path / "change.json").write_bytes(codec.encode(change))
                before, after = plan.on_top(there, (str(tmp_path / "change.json"),), {})
            planned = {one.connection.packet for one in whatif.verdicts(before, after, whatif.recorded(logged))}
            was = {one.packet: told(live.cluster, one.packet) for one in whatif.recorded(logged)}
            at = await (source.delete(change.key) if isinstance(change, Gone) else source.put(change))

            async def caught_up(sequence: int = at.sequence) -> bool:
                return live.upto.sequence >= sequence

            await until(caught_up)
            assert planned == {packet for packet, outcome in was.items() if told(live.cluster, packet) != outcome}
            changed += len(planned)
        assert changed > EVENTS // 50
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def _about_a_pod(change: AnyObject | Gone) -> bool:
    return change.key.kind is Kind.POD if isinstance(change, Gone) else isinstance(change, Pod)


def decided(source: str, destination: str, port: int) -> FlowDecision:
    return FlowDecision(
        at_us=0,
        table="IngressRule",
        policy="K8sNetworkPolicy:x/p",
        direction="Ingress",
        action="Allow",
        source=Address(source),
        destination=Address(destination),
        destination_port=port,
        protocol="TCP",
        length=60,
    )
