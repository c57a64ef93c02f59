"""The two ports of the engine, where the switch does not have them."""

import pytest

from sluice.drivers.suricata.taps import raise_quietly


def test_a_port_that_is_not_there_is_world_trouble():
    """ovs-vswitchd takes its ports along when it ends, and the database still says that they are there."""
    with pytest.raises(OSError, match="the switch has not made it: 'no-such-tap'"):
        raise_quietly(["no-such-tap"])
