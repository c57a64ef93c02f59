"""TrafficControl."""

from collections.abc import Mapping
from typing import Any

from sluice.testkit.admission.case import Case, crd

TARGET, RETURN = "$.spec.targetPort", "$.spec.returnPort"
GONE = "$.metadata.annotations['traffic.sluice.dev/when-gone']"
TAP: Mapping[str, Any] = {"ovsInternal": {"name": "tap0"}}


def control(**spec: Any) -> dict[str, Any]:
    plain = {"appliedTo": {"podSelector": {}}, "direction": "Both", "action": "Mirror", "targetPort": TAP}
    return crd("TrafficControl", {**plain, **spec}, version="v1alpha2")


def lacking(field: str) -> dict[str, Any]:
    made = control()
    del made["spec"][field]
    return made


def mirror(**port: Any) -> dict[str, Any]:
    return control(targetPort=port)


def redirect(back: Any, to: Any = TAP) -> dict[str, Any]:
    return control(action="Redirect", targetPort=to, returnPort=back)


def tunnel(kind: str, **more: Any) -> dict[str, Any]:
    return mirror(**{kind: {"remoteIP": "10.0.10.2", **more}})


def erspan(**more: Any) -> dict[str, Any]:
    return tunnel("erspan", **{"version": 1, **more})


def when_gone(text: str, made: dict[str, Any]) -> dict[str, Any]:
    made["metadata"]["annotations"] = {"traffic.sluice.dev/when-gone": text}
    return made


def named(name: Any) -> dict[str, Any]:
    return mirror(device={"name": name})


ACCEPTED = (
    Case("a mirror to a port of the switch", control()),
    Case("ingress alone", control(direction="Ingress")),
    Case("egress alone", control(direction="Egress")),
    Case("Namespaces", control(appliedTo={"namespaceSelector": {"matchLabels": {"a": "b"}}})),
    Case("both selectors", control(appliedTo={"podSelector": {}, "namespaceSelector": {}})),
    Case("nobody", control(appliedTo={}), cautions=("$.spec.appliedTo: selects nothing",)),
    Case("a device", named("eno2")),
    Case("a device with a dot", named("eth0.100")),
    Case("a name of fifteen", named("a" * 15)),
    Case("geneve", tunnel("geneve")),
    Case("geneve with all", tunnel("geneve", vni=16777215, destinationPort=6081)),
    Case("vxlan with the least", tunnel("vxlan", vni=0, destinationPort=1)),
    Case("vxlan with the greatest", tunnel("vxlan", vni=16777215, destinationPort=65535)),
    Case("vxlan over IPv6", tunnel("vxlan", remoteIP="fd00::7")),
    Case("gre", tunnel("gre")),
    Case("gre with the least key", tunnel("gre", key=0)),
    Case("gre with the greatest key", tunnel("gre", key=4294967295)),
    Case("erspan of version 1", erspan(sessionID=1, index=1)),
    Case("erspan of version 1, the greatest", erspan(sessionID=1023, index=1048575)),
    Case("erspan of version 2", erspan(version=2, sessionID=0, dir=0, hardwareID=4)),
    Case("erspan of version 2, the greatest", erspan(version=2, dir=1, hardwareID=63)),
    Case("a redirect", redirect({"ovsInternal": {"name": "tap1"}})),
    Case(
        "a redirect through tunnels", redirect({"gre": {"remoteIP": "10.0.10.3"}}, {"vxlan": {"remoteIP": "10.0.10.2"}})
    ),
    Case("a redirect and back on one port", redirect(TAP)),
    Case("a redirect that may be passed by", when_gone("pass", redirect(TAP))),
    Case("a redirect that may not", when_gone("drop", redirect(TAP))),
)

_ONE = f"{TARGET}: exactly one of"

REFUSED = (
    Case("no appliedTo", lacking("appliedTo"), ("$.spec.appliedTo: missing",)),
    Case("no direction", lacking("direction"), ("$.spec.direction: missing",)),
    Case("no action", lacking("action"), ("$.spec.action: missing",)),
    Case("no targetPort", lacking("targetPort"), ("$.spec.targetPort: missing",)),
    Case("appliedTo as a list", control(appliedTo=[{"podSelector": {}}]), ("$.spec.appliedTo: a list where",)),
    Case("appliedTo a group", control(appliedTo={"group": "g"}), ("$.spec.appliedTo.group: unknown field",)),
    Case(
        "a bad label",
        control(appliedTo={"podSelector": {"matchLabels": {"a": "b c"}}}),
        ("$.spec.appliedTo.podSelector.matchLabels.a: not a label value",),
    ),
    Case(
        "a bad key",
        control(appliedTo={"namespaceSelector": {"matchExpressions": [{"key": "a b", "operator": "Exists"}]}}),
        ("$.spec.appliedTo.namespaceSelector.matchExpressions[0].key: not a label key",),
    ),
    Case("another direction", control(direction="ingress"), ("$.spec.direction: write Ingress",)),
    Case("another action", control(action="Copy"), ("$.spec.action: write one of Mirror, Redirect",)),
    Case("an unknown field", control(priority=1), ("$.spec.priority: unknown field",)),
    Case("no port", mirror(), (f"{_ONE} ovsInternal, device, geneve, vxlan, gre, erspan",)),
    Case(
        "two ports",
        mirror(device={"name": "a"}, gre={"remoteIP": "10.0.0.1"}),
        (f"{TARGET}: names 2 ports (device, gre)",),
    ),
    Case("an unknown port", mirror(stt={"remoteIP": "10.0.0.1"}), (f"{TARGET}.stt: unknown field",)),
    Case("a device without name", mirror(device={}), (f"{TARGET}.device.name: missing",)),
    Case("a port without name", mirror(ovsInternal={}), (f"{TARGET}.ovsInternal.name: missing",)),
    Case("a name of none", named(""), (f"{TARGET}.device.name: use 1 to 15 characters",)),
    Case("a name of sixteen", named("a" * 16), (f"{TARGET}.device.name: cannot be the name",)),
    Case("a name with a slash", named("a/b"), (f"{TARGET}.device.name: cannot be the name",)),
    Case("a name with a space", named("a b"), (f"{TARGET}.device.name: cannot be the name",)),
    Case("a name with a colon", named("a:b"), (f"{TARGET}.device.name: cannot be the name",)),
    Case("a name with a newline", named("a\nb"), (f"{TARGET}.device.name: cannot be the name",)),
    Case("the name of a folder", named(".."), (f"{TARGET}.device.name: cannot be the name",)),
    Case("a name that is no text", named(7), (f"{TARGET}.device.name: where text belongs",)),
    Case("a tunnel to nowhere", mirror(geneve={}), (f"{TARGET}.geneve.remoteIP: missing",)),
    Case(
        "a tunnel to a name",
        tunnel("vxlan", remoteIP="ids.example.com"),
        (f"{TARGET}.vxlan.remoteIP: not an IP address",),
    ),
    Case("a tunnel to a network", tunnel("gre", remoteIP="10.0.0.0/8"), (f"{TARGET}.gre.remoteIP: not an IP address",)),
    Case("a tunnel to a zone", tunnel("gre", remoteIP="fe80::1%eth0"), (f"{TARGET}.gre.remoteIP: has a zone",)),
    Case(
        "a tunnel to many", tunnel("gre", remoteIP="224.0.0.1"), (f"{TARGET}.gre.remoteIP: not the address of a host",)
    ),
    Case("a tunnel to anywhere", tunnel("gre", remoteIP="::"), (f"{TARGET}.gre.remoteIP: not the address of a host",)),
    Case("a vni below", tunnel("geneve", vni=-1), (f"{TARGET}.geneve.vni: give one of 0 to 16777215",)),
    Case("a vni above", tunnel("vxlan", vni=16777216), (f"{TARGET}.vxlan.vni: 16777216 is out of range",)),
    Case("port 0", tunnel("geneve", destinationPort=0), (f"{TARGET}.geneve.destinationPort: give one of 1 to 65535",)),
    Case("port 65536", tunnel("vxlan", destinationPort=65536), (f"{TARGET}.vxlan.destinationPort: 65536",)),
    Case("a port of gre", tunnel("gre", destinationPort=1), (f"{TARGET}.gre.destinationPort: unknown field",)),
    Case("a key above", tunnel("gre", key=4294967296), (f"{TARGET}.gre.key: 4294967296 is out of range",)),
    Case("a key below", tunnel("gre", key=-1), (f"{TARGET}.gre.key: -1 is out of range",)),
    Case("erspan without version", tunnel("erspan"), (f"{TARGET}.erspan.version: missing",)),
    Case("erspan of version 3", erspan(version=3), (f"{TARGET}.erspan.version: give one of 1 to 2",)),
    Case("a session above", erspan(sessionID=1024), (f"{TARGET}.erspan.sessionID: give one of 0 to 1023",)),
    Case("an index above", erspan(index=1048576), (f"{TARGET}.erspan.index: give one of 0 to 1048575",)),
    Case("an index below", erspan(index=-1), (f"{TARGET}.erspan.index: -1 is out of range",)),
    Case(
        "an index of version 2",
        erspan(version=2, index=1),
        (f"{TARGET}.erspan.index: does not exist in ERSPAN version 2",),
    ),
    Case("dir of version 1", erspan(dir=0), (f"{TARGET}.erspan.dir: does not exist in ERSPAN version 1",)),
    Case("a third dir", erspan(version=2, dir=2), (f"{TARGET}.erspan.dir: give one of 0 to 1",)),
    Case(
        "hardware of version 1",
        erspan(hardwareID=1),
        (f"{TARGET}.erspan.hardwareID: does not exist in ERSPAN version 1",),
    ),
    Case("hardware above", erspan(version=2, hardwareID=64), (f"{TARGET}.erspan.hardwareID: give one of 0 to 63",)),
    Case("when gone: neither", when_gone("open", redirect(TAP)), (f"{GONE}: neither drop nor pass",)),
    Case("when gone: of copies", when_gone("pass", control()), (f"{GONE}: nothing to drop or pass",)),
    Case("a redirect that never returns", control(action="Redirect"), (f"{RETURN}: missing",)),
    Case("a mirror that returns", control(returnPort=TAP), (f"{RETURN}: nothing comes back from a Mirror",)),
    Case(
        "a redirect to erspan",
        redirect(TAP, {"erspan": {"remoteIP": "10.0.0.1", "version": 1}}),
        (f"{TARGET}.erspan: carries only copies",),
    ),
    Case(
        "a return by erspan",
        redirect({"erspan": {"remoteIP": "10.0.0.1", "version": 1}}),
        (f"{RETURN}.erspan: nothing comes back from it",),
    ),
    Case("a return by nothing", redirect({}), (f"{RETURN}: exactly one of ovsInternal, device, geneve, vxlan, gre",)),
    Case(
        "a return by two",
        redirect({"device": {"name": "a"}, "ovsInternal": {"name": "b"}}),
        (f"{RETURN}: names 2 ports",),
    ),
)
