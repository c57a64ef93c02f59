"""Objects as people name them on a command line: KIND/NAME, with the words that kubectl takes."""

from typing import Any

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
}
"""Short names, and what is meant where two API groups have the kind."""


class Target(click.ParamType):  # type: ignore[type-arg]  # generic only to the type checker
    """KIND/NAME, as a kind and a name."""

    name = "KIND/NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        kind, _, name = value.partition("/")
        if not kind or not name:
            self.fail(f"{value}: name one object, as acnp/default-deny", param, ctx)
        try:
            return kind_named(kind), name
        except LookupError as error:
            self.fail(str(error), param, ctx)


def kind_named(word: str) -> Any:
    """The Kind that the word means: its short name, kind, plural, or plural.group.

    Raises:
        LookupError: none; the message says what is known.
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
