"""`sluice explain` goes from everything in a lab with all examples back to what it is for, and to its version.

Scenarios are played to their end and asked there in `test_conformance`; here it is what people find in `examples`, and
what the commands say.
"""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.e2e.explained import held, listed, unexplained

from sluice.cli.main import main
from sluice.contracts.ids import NodeName
from sluice.dataplane.ovs import cookies, text
from sluice.dataplane.ovs.cookies import CookieKind
from sluice.kube.manifest import Document
from sluice.lab.lab import Lab
from sluice.lab.tales import Tale, read

pytestmark = pytest.mark.datapath

EXAMPLES = Path(__file__).parents[2] / "examples"
STORIES = ("kubernetes", "namespace-isolation", "antrea-policies")
NODES = tuple(map(NodeName, ("node-1", "node-2")))


def documents(tale: Tale) -> list[Document]:
    """All that the story comes to, each object once."""
    told = (*tale.objects, *(one for change in tale.changes for one in change.apply))
    return list({(document.kind, *document.object.key): document for document in told}.values())


async def test_everything_of_all_examples_is_explained() -> None:
    told = 0
    async with await Lab.start("explain", nodes=NODES) as lab:
        for tale in read([EXAMPLES / story for story in STORIES]):
            await lab.use(tale.nodes)
            await lab.change(apply=documents(tale))
            await lab.realised()
            assert await unexplained(lab) == []
            if told == 0:
                await asked(lab)
            told += sum([len(await listed(lab, NodeName(name), "ovs")) for name in tale.nodes])
            await lab.clear()
    assert told > 500


async def asked(lab: Lab) -> None:
    """What the commands say."""
    node, line = min([(node, line) for node in NODES for line in await rules(lab, node)])
    (rule,) = json.loads(await sluice(lab, "explain", "flow", line, "--node", node, "-o", "json"))["rules"]
    assert rule["since"]["sequence"] > 0


async def rules(lab: Lab, node: NodeName) -> list[str]:
    """Flows of rules on the node."""
    flows = await held(lab.nodes[node])
    return [text.write(key, body) for key, body in flows.items() if kind(body.cookie) is CookieKind.RULE]


def kind(number: int) -> CookieKind | None:
    cookie = cookies.unpack(number)
    return cookie.kind if cookie is not None else None


async def sluice(lab: Lab, *words: str, code: int = 0) -> str:
    arguments = [*words, "--nats-url", lab.nats.url]
    said = await asyncio.to_thread(CliRunner().invoke, main, arguments, catch_exceptions=False)
    assert said.exit_code == code, said.output
    return said.output
