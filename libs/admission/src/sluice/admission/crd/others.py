"""TrafficControl of crd.antrea.io/v1alpha2, and MultiNetworkPolicy of k8s.cni.cncf.io/v1beta1."""

from typing import Any, get_args

from sluice.admission import traffic_control as limits
from sluice.admission.crd.definition import Column, definition
from sluice.admission.crd.pieces import (
    Schema,
    address,
    array,
    at_most_one_way,
    block,
    conditions,
    integer,
    needs,
    obj,
    one_of,
    one_way,
    rule,
    selector,
    text,
)
from sluice.admission.network_policy import PORTS
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import PolicyType
from sluice.contracts.pieces import Protocol
from sluice.contracts.traffic_control import TrafficAction, TrafficDirection


def traffic_control() -> dict[str, Any]:
    spec = obj(
        {
            "appliedTo": obj({"podSelector": selector(), "namespaceSelector": selector()}),
            "direction": text(of=get_args(TrafficDirection)),
            "action": text(of=get_args(TrafficAction)),
            "targetPort": _port(with_erspan=True),
            "returnPort": _port(with_erspan=False),
        },
        required=("appliedTo", "direction", "action", "targetPort"),
        rules=(
            rule(
                "(self.action == 'Redirect') == has(self.returnPort)",
                "a Redirect needs a returnPort, and a Mirror must not have one",
            ),
            rule(
                "!has(self.targetPort.erspan) || self.action == 'Mirror'",
                "erspan carries only copies; use it with action Mirror",
            ),
        ),
    )
    status: Schema = {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
        "properties": {
            "observedGeneration": {"type": "integer", "format": "int64"},
            "conditions": conditions(),
        },
    }
    return definition(
        Kind.TRAFFIC_CONTROL,
        {"spec": spec, "status": status},
        short=("tc",),
        columns=(Column("Direction", "string", ".spec.direction"), Column("Action", "string", ".spec.action")),
        status=True,
    )


def _port(*, with_erspan: bool) -> Schema:
    # Printable ASCII except space, / and :; see `traffic_control.device_name`.
    name = text(longest=limits.MAX_DEVICE_NAME, pattern="^[!-.0-9;-~]+$") | {"not": {"enum": [".", ".."]}}
    device = obj({"name": name}, required=("name",))
    remote = {"remoteIP": address()}
    udp = obj(
        {**remote, "vni": integer(limits.VNIS), "destinationPort": integer(PORTS)},
        required=("remoteIP",),
    )
    properties: dict[str, Schema] = {
        "ovsInternal": device,
        "device": device,
        "geneve": udp,
        "vxlan": udp,
        "gre": obj({**remote, "key": integer(limits.GRE_KEYS, wide=True)}, required=("remoteIP",)),
    }
    if with_erspan:
        properties["erspan"] = obj(
            {
                **remote,
                "version": one_of(limits.VERSIONS),
                "sessionID": integer(limits.SESSIONS),
                "index": integer(limits.INDEXES),
                "dir": one_of(limits.DIRECTIONS),
                "hardwareID": integer(limits.HARDWARE),
            },
            required=("remoteIP", "version"),
            rules=(
                rule(
                    "self.version == 1 ? !has(self.dir) && !has(self.hardwareID) : !has(self.index)",
                    "index exists only in version 1, dir and hardwareID only in version 2",
                ),
            ),
        )
    return obj(properties, all_of=(one_way(*((name,) for name in properties)),))


def multi_network_policy() -> dict[str, Any]:
    peer = obj(
        {"podSelector": selector(), "namespaceSelector": selector(), "ipBlock": block()},
        at_least=1,
        all_of=at_most_one_way(("ipBlock",), ("podSelector", "namespaceSelector")),
    )
    port = obj(
        {
            "protocol": text(of=get_args(Protocol)),
            "port": {"x-kubernetes-int-or-string": True, "minimum": PORTS[0], "maximum": PORTS[-1], "maxLength": 15},
            "endPort": integer(PORTS),
        },
        all_of=(needs("endPort", "port"),),
    )
    spec = obj(
        {
            "podSelector": selector(),
            "policyTypes": array(text(of=get_args(PolicyType))),
            "ingress": array(obj({"from": array(peer), "ports": array(port)})),
            "egress": array(obj({"to": array(peer), "ports": array(port)})),
        }
    )
    return definition(Kind.MULTI_NETWORK_POLICY, {"spec": spec}, short=("multi-policy",), status=False, required=())
