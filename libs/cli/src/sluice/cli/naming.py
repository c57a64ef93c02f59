"""Objects as named on the command line: KIND/NAME, with kubectl's words for kinds."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import click

SHORT = {
    "netpol": "k8snetworkpolicies",
    "networkpolicies": "k8snetworkpolicies",
    "networkpolicy": "k8snetworkpolicies",
    "acnp": "acnps",
    "annp": "annps",
    "cg": "clustergroups",
    "grp": "groups",
    "tc": "trafficcontrols",
    "mnp": "multinetworkpolicies",
    "net-attach-def": "netattachdefs",
    "no": "nodes",
    "ns": "namespaces",
    "po": "pods",
    "svc": "services",
    "tr": "tiers",
}
"""Short names, and the preferred kind if two API groups have it."""


class Named(NamedTuple):
    """An object named by the user."""

    written: str
    """As the user wrote it."""

    kind: Any  # of Kind, which is imported lazily
    name: str

    def key(self, namespace: str | None) -> Any:
        """The object's key; for namespaced kinds the default is the Namespace default."""
        from sluice.contracts.kinds import RESOURCES
        from sluice.grouping.events import ObjectKey

        return ObjectKey(self.kind, (namespace or "default") if RESOURCES[self.kind].namespaced else "", self.name)


def title(key: Any) -> str:
    """Kind, Namespace and name in readable form."""
    from sluice.contracts.kinds import RESOURCES

    return f"{RESOURCES[key.kind].kind} {'/'.join(filter(None, (key.namespace, key.name)))}"


def absent(written: str, key: Any, where: str, there: Iterable[tuple[Any, ...]]) -> str:
    """A message that the object does not exist, and what to do; `there` are the keys of existing ones."""
    others = sorted(one[1] for one in there if (one[0], one[2]) == (key.kind, key.name) and one[1])
    todo = f"there is one in Namespace {others[0]}: give -n {others[0]}" if others else "check its name"
    todo += " and -n" if key.namespace and not others else ""
    return f"{written}: {where} there is no {title(key)}; {todo}"


class Target(click.ParamType):  # type: ignore[type-arg]  # generic only to the type checker
    """KIND/NAME as written, and the object that it names."""

    name = "KIND/NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        kind, _, name = value.partition("/")
        if not kind or not name:
            self.fail(f"{value}: name one object, as acnp/default-deny", param, ctx)
        try:
            return Named(value, kind_named(kind), name)
        except LookupError as error:
            self.fail(str(error), param, ctx)


def kind_named(word: str) -> Any:
    """The Kind for a short name, kind, plural, or plural.group.

    Raises:
        LookupError: the word is unknown; the message lists the known ones.
    """
    from sluice.contracts.kinds import RESOURCES, Kind

    lowered = word.lower()
    if lowered in SHORT:
        return Kind(SHORT[lowered])
    for kind, resource in RESOURCES.items():
        group, _, _ = resource.api_version.rpartition("/")
        words = {kind.value, resource.kind.lower(), resource.plural, f"{resource.plural}.{group}"}
        if lowered in words:
            return kind
    known = ", ".join(sorted(SHORT))
    raise LookupError(f"{word}: no such kind; name one as kubectl does: {known}, or networkpolicies.crd.antrea.io")
