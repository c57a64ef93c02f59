"""`sluice explain` goes from every flow of a lab with all examples back to what it is for, and to its version."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from sluice.cli.main import main
from sluice.contracts.ids import NodeName
from sluice.dataplane.ovs import cookies, text
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.dataplane.ovs.flow import Flows
from sluice.drivers.openflow.switch import Switch
from sluice.kube.manifest import Document
from sluice.lab.lab import Lab
from sluice.lab.tales import Tale, read
from sluice.runtime import explaining

pytestmark = pytest.mark.datapath

EXAMPLES = Path(__file__).parents[2] / "examples"
STORIES = ("kubernetes", "namespace-isolation", "antrea-policies")
OF_RULES = {CookieKind.RULE, CookieKind.ISOLATION, CookieKind.CLAUSE}


def documents(tale: Tale) -> list[Document]:
    """All that the story comes to, each object once."""
    told = (*tale.objects, *(one for change in tale.changes for one in change.apply))
    return list({(document.kind, *document.object.key): document for document in told}.values())


async def test_every_flow_of_all_examples_is_explained() -> None:
    told = 0
    async with await Lab.start("explain", nodes=("node-1", "node-2")) as lab:
        for tale in read([EXAMPLES / story for story in STORIES]):
            await lab.use(tale.nodes)
            await lab.change(apply=documents(tale))
            await lab.realised()
            for name in tale.nodes:
                flows = await held(lab, name)
                for key, body in flows.items():
                    await explained(lab, NodeName(name), text.write(key, body), body.cookie)
                told += len(flows)
                if told == len(flows):
                    rule = next(key for key, body in flows.items() if is_rule(body.cookie))
                    await blamed(lab, name, text.write(rule, flows[rule]))
            await lab.clear()
    assert told > 500


def is_rule(number: int) -> bool:
    cookie = cookies.unpack(number)
    return cookie is not None and cookie.kind is CookieKind.RULE


async def held(lab: Lab, node: str) -> Flows:
    switch = await Switch.connect(lab.nodes[NodeName(node)].ovs.mgmt_socket())
    try:
        return await switch.dump()
    finally:
        switch.close()


async def explained(lab: Lab, node: NodeName, line: str, number: int) -> None:
    found = await explaining.explain(lab.bus, [node], "ovs", line)
    cookie = cookies.unpack(number)
    assert cookie is not None, line
    assert found.kind == cookie.kind.name.lower()
    assert found.says, line
    assert found.does, line
    assert found.rules or cookie.kind not in OF_RULES, line
    assert found.pods or cookie.kind is not CookieKind.PORT, line


async def blamed(lab: Lab, node: str, line: str) -> None:
    """The command names a version of the object, too."""
    arguments = ["explain", "flow", line, "--node", node, "--nats-url", lab.nats.url, "-o", "json"]
    said = await asyncio.to_thread(CliRunner().invoke, main, arguments, catch_exceptions=False)
    assert said.exit_code == 0, said.output
    (rule,) = json.loads(said.output)["rules"]
    assert rule["since"]["sequence"] > 0
