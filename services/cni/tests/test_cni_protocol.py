"""Requests and results, by the specification."""

import json

import pytest

from sluice.contracts.ids import Address
from sluice.services.cni import plugin
from sluice.services.cni.protocol import VERSIONS, Attached, CniFailed, Code, Owner, read, result

ARGS = "IgnoreUnknown=1;K8S_POD_NAMESPACE=x;K8S_POD_NAME=a;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=u-1"
ADD = {
    "CNI_COMMAND": "ADD",
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/a",
    "CNI_IFNAME": "eth0",
    "CNI_ARGS": ARGS,
}
GATEWAYS = {4: Address("169.254.1.1"), 6: Address("fe80::1")}


def config(version: str = "1.0.0", **more: object) -> bytes:
    return json.dumps({"cniVersion": version, "name": "sluice", "type": "sluice", **more}).encode()


def test_an_add_says_for_which_pod() -> None:
    request = read(ADD, config(mtu=8900))

    assert (request.pod, request.uid, request.owner) == ("x/a", "u-1", Owner("c1", "eth0"))
    assert (request.netns, request.config.mtu) == ("/run/netns/a", 8900)


@pytest.mark.parametrize(
    ("changed", "stdin", "code", "told"),
    [
        ({}, b"{", Code.UNDECODABLE, "standard input"),
        ({}, b'{"cniVersion": 1}', Code.UNDECODABLE, "cniVersion"),
        ({}, config("2.0.0"), Code.INCOMPATIBLE_VERSION, "0.4.0, 1.0.0, 1.1.0"),
        ({"CNI_COMMAND": "MOVE"}, config(), Code.BAD_ENVIRONMENT, "MOVE"),
        ({"CNI_NETNS": ""}, config(), Code.BAD_ENVIRONMENT, "CNI_NETNS not set: ADD needs it"),
        ({"CNI_CONTAINERID": "../x"}, config(), Code.BAD_ENVIRONMENT, "not an id"),
        ({"CNI_IFNAME": "a/b"}, config(), Code.BAD_ENVIRONMENT, "not a valid interface name"),
        ({"CNI_IFNAME": "e" * 16}, config(), Code.BAD_ENVIRONMENT, "not a valid interface name"),
        ({"CNI_ARGS": "K8S_POD_NAMESPACE=x;K8S_POD_NAME=a"}, config(), Code.BAD_ENVIRONMENT, "no K8S_POD_UID"),
        ({"CNI_COMMAND": "GC"}, config(), Code.BAD_CONFIG, "all attachments would be removed"),
    ],
)
def test_what_is_not_understood_is_told(changed: dict[str, str], stdin: bytes, code: Code, told: str) -> None:
    with pytest.raises(CniFailed, match=told) as caught:
        read(ADD | changed, stdin)

    assert caught.value.code == code
    assert json.loads(caught.value.encode("1.0.0"))["code"] == int(code)


def test_a_del_needs_neither_pod_nor_namespace() -> None:
    request = read({"CNI_COMMAND": "DEL", "CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0"}, config())

    assert request.owner == Owner("c1", "eth0")


def test_a_gc_names_who_stays() -> None:
    valid = [{"containerID": "c1", "ifname": "eth0"}]

    request = read({"CNI_COMMAND": "GC"}, config("1.1.0", **{"cni.dev/valid-attachments": valid}))

    assert request.config.valid is not None
    assert [(each.container_id, each.ifname) for each in request.config.valid] == [("c1", "eth0")]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_result_is_of_the_version_that_was_asked_in(version: str) -> None:
    made = Attached("sl1", "0a:58:0a:40:00:02", (Address("10.64.0.2"), Address("fd00::2")))

    said = json.loads(result(read(ADD, config(version)), made, GATEWAYS))

    assert said["cniVersion"] == version
    assert said["interfaces"][1] == {"name": "eth0", "mac": made.mac, "sandbox": "/run/netns/a"}
    assert [ip["address"] for ip in said["ips"]] == ["10.64.0.2/32", "fd00::2/128"]
    assert all(said["interfaces"][ip["interface"]]["name"] == "eth0" for ip in said["ips"])
    assert [ip.get("version") for ip in said["ips"]] == (["4", "6"] if version == "0.4.0" else [None, None])
    assert said["routes"] == [{"dst": "0.0.0.0/0", "gw": "169.254.1.1"}, {"dst": "::/0", "gw": "fe80::1"}]


def test_the_plugin_knows_the_versions_of_the_daemon() -> None:
    assert plugin.VERSIONS == VERSIONS
