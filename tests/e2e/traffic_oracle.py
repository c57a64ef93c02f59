"""What TrafficControls do with a packet, by their words alone: who gets copies of it, and which devices it goes by.

Written without a look at how anything does it. A packet is seen on the node of its sender, and if that is another on
the node of its receiver; on each, what is done for those of its two ends that are there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

COPIES_TO = {
    "vxlan": "{vxlan: {remoteIP: 10.0.10.2, vni: 7}}",
    "geneve": "{geneve: {remoteIP: 10.0.10.2, vni: 8, destinationPort: 6082}}",
    "gre": "{gre: {remoteIP: 10.0.10.2, key: 9}}",
    "erspan": "{erspan: {remoteIP: 10.0.10.2, version: 2, sessionID: 10, dir: 1, hardwareID: 11}}",
    "tap4": "{ovsInternal: {name: tap4}}",
    "eno2": "{device: {name: eno2}}",
}
"""Where copies may go to, by a name of ours."""

GOES_BY = {
    "tap0": ("{ovsInternal: {name: tap0}}", "{ovsInternal: {name: tap1}}"),
    "eno4": ("{device: {name: eno4}}", "{device: {name: eno5}}"),
}
"""Inline devices: where packets go to, and where they come back."""


class Pod(NamedTuple):
    name: str
    node: str
    app: str
    address: str


class Control(NamedTuple):
    """A TrafficControl."""

    name: str
    app: str
    """Of the Pods that it selects; empty: all."""

    direction: str
    to: str
    """A name in COPIES_TO, or in GOES_BY."""

    created: str = ""

    @property
    def redirects(self) -> bool:
        return self.to in GOES_BY

    @property
    def order(self) -> tuple[bool, str, str]:
        return not self.created, self.created, self.name

    def about(self, pod: Pod, direction: str) -> bool:
        return self.app in ("", pod.app) and self.direction in ("Both", direction)

    @property
    def text(self) -> str:
        selector = f"{{matchLabels: {{app: {self.app}}}}}" if self.app else "{}"
        target = COPIES_TO.get(self.to) or GOES_BY[self.to][0]
        lines = [
            "apiVersion: crd.antrea.io/v1alpha2",
            "kind: TrafficControl",
            f"metadata: {{name: {self.name}{f', creationTimestamp: {self.created!r}' if self.created else ''}}}",
            "spec:",
            f"  appliedTo: {{podSelector: {selector}}}",
            f"  direction: {self.direction}",
            f"  action: {'Redirect' if self.redirects else 'Mirror'}",
            f"  targetPort: {target}",
            *([f"  returnPort: {GOES_BY[self.to][1]}"] if self.redirects else []),
        ]
        return "\n".join(lines) + "\n"


def seen_at(source: Pod, target: Pod, controls: Iterable[Control]) -> Counter[str]:
    """How often each receiver sees the packet: copies once to each target and node, devices once to each node."""
    known = tuple(controls)
    found: Counter[str] = Counter()
    for node in sorted({source.node, target.node}):
        ends = [(source, "Egress")] if source.node == node else []
        ends += [(target, "Ingress")] if target.node == node else []
        found.update({each.to for each in known if not each.redirects and any(each.about(*end) for end in ends)})
        found.update({chosen.to for end in ends if (chosen := redirect_of(*end, known))})
    return found


def redirect_of(pod: Pod, direction: str, controls: Iterable[Control]) -> Control | None:
    """The one that counts."""
    return min(
        (each for each in controls if each.redirects and each.about(pod, direction)),
        key=lambda each: each.order,
        default=None,
    )


def losers(pods: Iterable[Pod], controls: Mapping[str, Control]) -> set[tuple[str, str, str]]:
    """Node, TrafficControl and the one that goes before it, wherever one does not redirect all that it should."""
    found = set()
    for pod in pods:
        for direction in ("Ingress", "Egress"):
            chosen = redirect_of(pod, direction, controls.values())
            for each in controls.values():
                if chosen is not None and each.redirects and each != chosen and each.about(pod, direction):
                    found.add((pod.node, each.name, chosen.name))
    return found
