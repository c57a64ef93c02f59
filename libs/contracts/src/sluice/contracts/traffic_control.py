"""TrafficControl of crd.antrea.io/v1alpha2 as it travels: mirror or redirect what Pods send and receive.

As in `antrea`, an unknown field within the spec is a decoding error: a mirror without the half that was ignored would
show less, or more, than its author asked for.
"""

from typing import Literal

from msgspec import field

from sluice.contracts.pieces import LabelSelector, Object, Part

TrafficDirection = Literal["Ingress", "Egress", "Both"]
TrafficAction = Literal["Mirror", "Redirect"]


class TrafficAppliedTo(Part, frozen=True, kw_only=True):
    """With neither selector set, no Pod is selected."""

    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None


class NamedDevice(Part, frozen=True, kw_only=True):
    """A network device on every Node, by name."""

    name: str


class UdpTunnel(Part, frozen=True, kw_only=True):
    """Geneve or VXLAN."""

    remote_ip: str = field(name="remoteIP")
    vni: int | None = None
    """0..16777215."""

    destination_port: int | None = None
    """Unset means 6081 for Geneve, and 4789 for VXLAN."""


class GreTunnel(Part, frozen=True, kw_only=True):
    remote_ip: str = field(name="remoteIP")
    key: int | None = None
    """0..4294967295."""


class ErspanTunnel(Part, frozen=True, kw_only=True):
    remote_ip: str = field(name="remoteIP")
    version: int
    """1 (type II) or 2 (type III)."""

    session_id: int | None = field(default=None, name="sessionID")
    """0..1023."""

    index: int | None = None
    """0..1048575; only for version 1."""

    dir: int | None = None
    """0 for ingress, 1 for egress; only for version 2."""

    hardware_id: int | None = field(default=None, name="hardwareID")
    """0..63; only for version 2."""


class TrafficPort(Part, frozen=True, kw_only=True):
    """Where traffic is sent to, or comes back from. Exactly one field is set."""

    ovs_internal: NamedDevice | None = None
    """An internal port of the switch; created if missing."""

    device: NamedDevice | None = None
    """An existing device."""

    geneve: UdpTunnel | None = None
    vxlan: UdpTunnel | None = None
    gre: GreTunnel | None = None
    erspan: ErspanTunnel | None = None


class TrafficControlSpec(Part, frozen=True, kw_only=True):
    applied_to: TrafficAppliedTo
    direction: TrafficDirection
    action: TrafficAction
    target_port: TrafficPort
    return_port: TrafficPort | None = None
    """Where redirected traffic comes back. Only for Redirect; never ERSPAN."""


class TrafficControl(Object, frozen=True, kw_only=True):
    spec: TrafficControlSpec
