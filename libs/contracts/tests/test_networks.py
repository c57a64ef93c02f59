"""The annotations and configurations of secondary networks, in every form they are written in."""

import json
from typing import Any, NamedTuple

import pytest

from sluice.contracts.ids import Address
from sluice.contracts.networks import (
    UNKNOWN_PLUGIN,
    BadAnnotation,
    Plugin,
    PolicyFor,
    Report,
    Request,
    plugin,
    policy_for,
    reports,
    requests,
)

POLICY_FOR = [
    ("a", ("x/a",)),
    ("a,b", ("x/a", "x/b")),
    (" a , y/b ,\n", ("x/a", "y/b")),
    ("y/ b", ("y/b",)),
    ("a,x/a", ("x/a",)),
    ("b,a", ("x/b", "x/a")),
    ("", ()),
    (" , ", ()),
]


@pytest.mark.parametrize(("text", "networks"), POLICY_FOR)
def test_policy_for(text: str, networks: tuple[str, ...]):
    assert policy_for(text, "x") == PolicyFor(networks, ())


@pytest.mark.parametrize("item", ["a/b/c", "/a", "a/"])
def test_items_of_policy_for_that_are_no_network_are_told_and_left_out(item: str):
    found = policy_for(f"a,{item}", "x")

    assert found.networks == ("x/a",)
    assert found.wrong == (f'"{item}" is not a network; write NAME or NAMESPACE/NAME',)


REQUESTS = [
    ("a", (Request("x/a", ""),)),
    ("a, y/b@net7", (Request("x/a", ""), Request("y/b", "net7"))),
    ("a,a", (Request("x/a", ""), Request("x/a", ""))),
    ("", ()),
    ("  ", ()),
    ('[{"name": "a"}]', (Request("x/a", ""),)),
    ('[{"name": "a", "namespace": "y", "interface": "n1", "ips": ["10.0.0.1/24"]}]', (Request("y/a", "n1"),)),
    ('[{"name": "a", "mac": "c2:b0:57:49:47:f1", "cni-args": {"x": 1}, "bandwidth": {}}]', (Request("x/a", ""),)),
    (' [{"name": "a", "interface": null}, {"name": "b"}]', (Request("x/a", ""), Request("x/b", ""))),
    ("[]", ()),
]


@pytest.mark.parametrize(("text", "expected"), REQUESTS)
def test_requests(text: str, expected: tuple[Request, ...]):
    assert requests(text, "x") == expected


DEEP = "[" * 100_000
"""What a Pod's annotation may hold: everybody who creates Pods writes them."""


@pytest.mark.parametrize(
    "text", ["a,,b", "a@", "@n", "a/b/c", "a/", "[{]", '[{"namespace": "y"}]', '{"name": "a"}', f'[{{"x": {DEEP}', DEEP]
)
def test_requests_that_are_none(text: str):
    with pytest.raises(BadAnnotation):
        requests(text, "x")


class Reported(NamedTuple):
    name: str
    entry: dict[str, Any]
    report: Report


REPORTS = [
    Reported("a name alone", {"name": "a"}, Report("x/a", "", False, (), "", "")),
    Reported("nulls", {"name": "a", "ips": None, "default": None}, Report("x/a", "", False, (), "", "")),
    Reported("the default", {"name": "k", "default": True}, Report("x/k", "", True, (), "", "")),
    Reported(
        "addresses with and without length, in canonical text",
        {"name": "y/a", "interface": "net1", "ips": ["10.0.0.7/24", "FD00::0:7", "10.0.0.7"], "dns": {}},
        Report("y/a", "net1", False, (Address("10.0.0.7"), Address("fd00::7")), "", ""),
    ),
    Reported(
        "a VF with its representor",
        {
            "name": "y/a",
            "device-info": {
                "type": "pci",
                "version": "1.1.0",
                "pci": {"pci-address": "0000:03:00.2", "representor-device": "eth3", "pf-pci-address": "0000:03:00.0"},
            },
        },
        Report("y/a", "", False, (), "0000:03:00.2", "eth3"),
    ),
    Reported(
        "vdpa",
        {"name": "y/a", "device-info": {"type": "vdpa", "vdpa": {"pci-address": "0000:03:00.3", "driver": "vhost"}}},
        Report("y/a", "", False, (), "0000:03:00.3", ""),
    ),
    Reported(
        "memif",
        {"name": "y/a", "device-info": {"type": "memif", "memif": {"path": "/x"}}},
        Report("y/a", "", False, (), "", ""),
    ),
]


@pytest.mark.parametrize("case", REPORTS, ids=lambda case: case.name)
def test_reports(case: Reported):
    assert reports(json.dumps([case.entry, case.entry]), "x") == (case.report, case.report)


def test_no_report():
    assert reports("", "x") == reports("[]", "x") == ()


@pytest.mark.parametrize(
    "text", ["a", "{}", '[{"interface": "net1"}]', '[{"name": "a", "ips": ["10.0.0"]}]', "[1]", f'[{{"x": {DEEP}']
)
def test_reports_that_are_none(text: str):
    with pytest.raises(BadAnnotation):
        reports(text, "x")


PLUGINS = [
    ("", UNKNOWN_PLUGIN),
    ('{"type": "macvlan"}', Plugin("macvlan", False)),
    ('{"plugins": [{"type": "accelerated-bridge"}, {"type": "tuning"}]}', Plugin("accelerated-bridge", False)),
    ('{"type": "accelerated-bridge", "vlan": 7}', Plugin("accelerated-bridge", False)),
    ('{"type": "accelerated-bridge", "trunk": []}', Plugin("accelerated-bridge", False)),
    ('{"type": "accelerated-bridge", "trunk": [{"id": 42}]}', Plugin("accelerated-bridge", True)),
    ('{"type": "bridge", "vlanTrunk": [{"minID": 1, "maxID": 9}]}', Plugin("bridge", True)),
]


@pytest.mark.parametrize(("config", "expected"), PLUGINS)
def test_plugins(config: str, expected: Plugin):
    assert plugin(config) == expected


@pytest.mark.parametrize(
    "config", ["{", "[]", "{}", '{"type": 1}', '{"plugins": []}', '{"plugins": ["a"]}', '{"type": ""}', DEEP]
)
def test_configurations_that_are_none(config: str):
    with pytest.raises(BadAnnotation):
        plugin(config)
