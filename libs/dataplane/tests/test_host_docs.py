"""docs/backends/host.md shows the table that its manifest comes to, and speaks of every chain and set there is."""

import re
from pathlib import Path

from sluice.contracts.groups import NodeRoute
from sluice.contracts.ids import NEVER
from sluice.dataplane.host import guard, text
from sluice.dataplane.host.words import LOG_GROUP, MARK_ENDED
from sluice.testkit import builders
from sluice.testkit.expanders import story
from sluice.testkit.host_node import HERE, HostNode

PAGE = (Path(__file__).parents[3] / "docs/backends/host.md").read_text(encoding="utf-8")

RULES = [
    {
        "action": "Allow",
        "from": [{"podSelector": {"matchLabels": {"app": "monitor"}}}],
        "ports": [{"protocol": "TCP", "port": 9100}],
    },
    {
        "action": "Reject",
        "enableLogging": True,
        "from": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}}],
        "ports": [{"protocol": "TCP", "port": 22}],
    },
]


def test_the_table_of_the_page_is_what_the_code_makes():
    policy = builders.acnp(
        "edge", {"appliedTo": [{"nodeSelector": {"matchLabels": {"role": "edge"}}}], "ingress": RULES}
    )
    node = HostNode(story(builders.node("node-1", labels={"role": "edge"}), policy))
    node.engine.guard_is(guard.dhcp())
    node.engine.route_is(NodeRoute(node=HERE, cause=NEVER, pod_cidrs=("10.81.0.0/24",)))
    (shown,) = re.findall(r"```nft\n(.*?)```", PAGE, re.DOTALL)

    assert shown == text.write(node.engine.table())


def test_numbers_are_those_of_the_code():
    assert f"group {LOG_GROUP} of NFLOG" in PAGE
    assert f"bit {MARK_ENDED.bit_length() - 1} of the mark" in PAGE
    assert f"--mark {MARK_ENDED:#x}/{MARK_ENDED:#x}" in PAGE
