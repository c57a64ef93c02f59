"""Antrea-native policies that admission should have refused: closed, whatever the rule does."""

from typing import Any, NamedTuple

import pytest

from sluice.contracts.ids import Revision
from sluice.contracts.programs import Action, PortRange, TransportTraffic
from sluice.policy.translate import translate
from sluice.testkit.builders import acnp

CAUSE = Revision(1, 7)
PORT_80 = TransportTraffic(protocol="TCP", ports=PortRange(80, 80))
BAD_PEER = {"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}], "ports": [{"port": 80}]}
BAD_PORT = {"ports": [{"port": 0}, {"port": 80}]}


class Refused(NamedTuple):
    action: str
    rule: dict[str, Any]
    peers: tuple[()] | None
    traffic: tuple[TransportTraffic, ...] | None


REFUSED = [
    Refused("Allow", BAD_PEER, (), (PORT_80,)),
    Refused("Pass", BAD_PEER, (), (PORT_80,)),
    Refused("Drop", BAD_PEER, None, (PORT_80,)),
    Refused("Reject", BAD_PEER, None, (PORT_80,)),
    Refused("Allow", BAD_PORT, None, (PORT_80,)),
    Refused("Drop", BAD_PORT, None, None),
]


@pytest.mark.parametrize(
    "case", REFUSED, ids=lambda case: f"{case.action} {'from' if 'from' in case.rule else 'ports'}"
)
def test_a_refused_piece_allows_nothing_and_drops_everything(case: Refused) -> None:
    spec = {"appliedTo": [{"podSelector": {}}], "ingress": [{"action": case.action, **case.rule}]}

    made = translate(acnp("p", spec), CAUSE)
    (program,) = made.programs
    (rule,) = program.rules

    assert rule.action is Action(case.action.lower())
    assert (rule.peers, rule.traffic) == (case.peers, case.traffic)
    assert len(made.problems) == 1
