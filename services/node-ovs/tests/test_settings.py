"""What node-ovs reads from its environment about names."""

import pytest

from sluice.contracts.ids import Address
from sluice.dataplane.ovs.fqdn_values import Opens
from sluice.runtime.settings import ConfigError, load
from sluice.services.node_ovs.settings import NodeOvsSettings

PREFIX = "SLUICE_NODE_OVS_"


def read(**given: str) -> NodeOvsSettings:
    return load(
        NodeOvsSettings, PREFIX, {PREFIX + name.upper(): value for name, value in {"node_name": "n", **given}.items()}
    )


def test_how_names_are_dealt_with():
    naming = read(
        fqdn_opens="ahead", fqdn_min_ttl_s="0", fqdn_servers="192.0.2.1, 2001:db8::1", fqdn_ahead="false"
    ).naming

    assert (naming.opens, naming.bounds.min_ttl_s, naming.ahead) == (Opens.AHEAD, 0, False)
    assert naming.servers == (Address("192.0.2.1"), Address("2001:db8::1"))


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("", None),
        ("192.0.2.1", ("192.0.2.1", 53)),
        ("192.0.2.1:5353", ("192.0.2.1", 5353)),
        ("2001:db8::1", ("2001:db8::1", 53)),
        ("[2001:db8::1]:5353", ("2001:db8::1", 5353)),
        ("[2001:db8::1]", ("2001:db8::1", 53)),
    ],
)
def test_whom_the_node_asks(text: str, server: tuple[str, int] | None):
    assert read(fqdn_ahead_server=text).ahead_server == server


@pytest.mark.parametrize(
    "given",
    [
        {"fqdn_ahead_server": "dns.example.com"},
        {"fqdn_ahead_server": "192.0.2.1:many"},
        {"fqdn_servers": "192.0.2.1,nope"},
        {"fqdn_opens": "everybody"},
        {"fqdn_addresses": "0"},
        {"dns_rate": "0"},
    ],
    ids=lambda given: " ".join(*given.items()),
)
def test_what_is_none_is_refused_at_the_start(given: dict[str, str]):
    with pytest.raises(ConfigError):
        read(**given)
