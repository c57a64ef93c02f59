"""group-resolver on the real bus: the way to a node follows its Node and its Pods."""

import asyncio

import msgspec

from sluice.contracts import codec, subjects
from sluice.contracts.ids import NodeName
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import Node
from sluice.grouping.events import ObjectKey
from sluice.services.group_resolver.app import opened
from sluice.services.group_resolver.settings import GroupResolverSettings
from sluice.testkit.builders import pod

MARK = subjects.group_mark(0)
ADDRESSES = ["192.0.2.1", "2001:db8::1"]


def here(cidr: str) -> Node:
    internal = [{"type": "InternalIP", "address": address} for address in ADDRESSES]
    written = {"spec": {"podCIDR": cidr}, "status": {"addresses": [*internal, {"type": "Hostname", "address": "n"}]}}
    return msgspec.convert({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node-1"}, **written}, Node)


def way(cidr: str, *strays: str) -> dict[str, object]:
    return {"node": "node-1", "addresses": ADDRESSES, "pod_cidrs": [cidr], "strays": list(strays)}


async def test_the_way_to_a_node_follows_its_node_and_its_pods(bus, source, watch):
    groups = watch("GROUPS")
    await source.listed()
    async with opened(bus, GroupResolverSettings(holder="test")) as (shell, _):
        running = asyncio.create_task(shell.run())

        async def told(upto):
            await groups.until(MARK, upto)
            raw = await bus.js.get_msg("GROUPS", subject=subjects.route(NodeName("node-1")))
            value = codec.decode(raw.data, dict) if raw.data else {"cause": None}
            del value["cause"]
            return value

        upto = await source.put(pod("x/a", ip="10.0.0.1"))
        assert await groups.until(MARK, upto)  # no object, no way: there is nothing yet
        assert await told(await source.put(here("10.1.0.0/24"))) == way("10.1.0.0/24", "10.0.0.1")
        upto = await source.put(pod("x/b", ip=["10.1.0.2", "fd00::2"]))
        assert await told(upto) == way("10.1.0.0/24", "10.0.0.1", "fd00::2")
        assert await told(await source.put(pod("x/b", ip="10.1.0.2"))) == way("10.1.0.0/24", "10.0.0.1")
        assert await told(await source.put(here("10.0.0.0/24"))) == way("10.0.0.0/24", "10.1.0.2")
        assert await told(await source.put(pod("x/b", ip="10.1.0.2", node="node-2"))) == way("10.0.0.0/24")
        assert await told(await source.delete(ObjectKey(Kind.NODE, "", "node-1"))) == {}
        running.cancel()
        await asyncio.wait([running])
