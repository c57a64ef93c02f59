"""Ports that TrafficControls need: what they are called, and what may become of them."""

from typing import NamedTuple

import pytest

from sluice.contracts.traffic_control import ErspanTunnel, GreTunnel, NamedDevice, TrafficPort, UdpTunnel
from sluice.dataplane.ovs.traffic_ports import (
    DEVICE,
    INTERNAL,
    Broken,
    Found,
    Owner,
    Ready,
    Waiting,
    Wish,
    missing,
    removable,
    state,
    wish,
)

TO = "10.0.10.2"
TAP = Wish("tap0", INTERNAL)


class Case(NamedTuple):
    port: TrafficPort
    type: str
    options: dict[str, str]


CASES = {
    "geneve": Case(TrafficPort(geneve=UdpTunnel(remote_ip=TO)), "geneve", {}),
    "geneve at its own port": Case(TrafficPort(geneve=UdpTunnel(remote_ip=TO, destination_port=6081)), "geneve", {}),
    "geneve of a network": Case(
        TrafficPort(geneve=UdpTunnel(remote_ip=TO, vni=0, destination_port=6082)),
        "geneve",
        {"key": "0", "dst_port": "6082"},
    ),
    "vxlan": Case(TrafficPort(vxlan=UdpTunnel(remote_ip=TO, vni=1, destination_port=4789)), "vxlan", {"key": "1"}),
    "gre": Case(TrafficPort(gre=GreTunnel(remote_ip=TO, key=(1 << 32) - 1)), "gre", {"key": "4294967295"}),
    "erspan 1": Case(
        TrafficPort(erspan=ErspanTunnel(remote_ip=TO, version=1, session_id=1023, index=1048575)),
        "erspan",
        {"key": "1023", "erspan_ver": "1", "erspan_idx": "fffff"},
    ),
    "erspan 2": Case(
        TrafficPort(erspan=ErspanTunnel(remote_ip=TO, version=2, dir=1, hardware_id=63)),
        "erspan",
        {"erspan_ver": "2", "erspan_dir": "1", "erspan_hwid": "3f"},
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_tunnel_is_named_by_all_that_it_is(case):
    found = wish(case.port)

    assert (found.type, dict(found.options)) == (case.type, {"remote_ip": TO, **case.options})
    assert found.name.startswith(f"{case.type}-")
    assert len(found.name) <= 15


def test_what_is_the_same_port_has_one_name_and_what_differs_has_two():
    names = [wish(case.port).name for case in CASES.values()]

    assert len(set(names)) == len(CASES) - 1  # the default port, said and unsaid


def test_ports_with_names_keep_them():
    assert wish(TrafficPort(ovs_internal=NamedDevice(name="tap0"))) == TAP
    assert wish(TrafficPort(device=NamedDevice(name="eno2"))) == Wish("eno2", DEVICE)


def there(
    owner: Owner,
    type_: str = INTERNAL,
    ofport: int | None = 5,
    error: str | None = None,
    said: str = "",
    *,
    gone: bool = False,
) -> Found:
    return Found("tap0", type_, owner, ofport, error, said, gone)


@pytest.mark.parametrize(
    ("found", "returns", "reason"),
    [
        (there("somebody", "vxlan"), False, "taken"),
        (there("somebody", DEVICE), False, "taken"),
        (there("bridge", said="bridge br-ex"), False, "bridge br-ex"),
        (there("role", said="gateway"), False, "the node itself (gateway)"),
        (there("pod", said="x/a"), True, "Pod x/a"),
        (there("ours", ofport=None, error="no such device"), False, "no such device"),
        (there("somebody", ofport=65534), False, "the bridge itself"),
    ],
    ids=["a tunnel", "a device", "another bridge's", "the node itself", "a Pod's", "gone", "the bridge"],
)
def test_what_is_not_ours_to_use_is_told(found, returns, reason):
    said = state(TAP, found, None, returns=returns)

    assert isinstance(said, Broken)
    assert reason in said.reason


@pytest.mark.parametrize(
    ("found", "refused", "is_"),
    [
        (there("ours"), None, Ready(5)),
        (there("somebody"), None, Ready(5)),
        (there("pod"), None, Ready(5)),
        (there("ours", DEVICE), None, Waiting()),
        (there("ours", ofport=None), None, Waiting()),
        (None, None, Waiting()),
        (None, "no such device", Broken("no such device")),
    ],
)
def test_what_there_is_is_used_and_what_is_to_come_is_waited_for(found, refused, is_):
    assert state(TAP, found, refused) == is_


def test_a_tunnel_of_somebody_else_with_our_name_is_not_ours():
    tunnel = wish(CASES["gre"].port)

    assert isinstance(state(tunnel, Found(tunnel.name, "gre", "somebody", 5), None), Broken)


def test_only_what_we_made_goes():
    found = {
        "tap0": there("ours"),
        "tap1": there("somebody"),
        "tap2": there("ours", DEVICE),
        "eno2": there("ours", DEVICE, gone=True),
        "eno3": there("somebody", DEVICE, gone=True),
    }
    wishes = {"tap2": Wish("tap2", INTERNAL), "tap3": Wish("tap3", INTERNAL)}
    wishes |= {name: Wish(name, DEVICE) for name in ("eno2", "eno3")}

    assert removable(found, wishes) == {"tap0", "tap2", "eno2"}
    assert missing(found, wishes) == (Wish("tap3", INTERNAL),)


@pytest.mark.parametrize("owner", ["ours", "somebody"])
def test_a_port_whose_device_has_gone_is_no_port(owner):
    said = state(Wish("tap0", DEVICE), there(owner, DEVICE, gone=True), None)

    assert said == Broken("device tap0: the device is gone; create it again, or choose another")
