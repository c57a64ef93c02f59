"""Tier, alone and among others."""

from typing import Any

from sluice.testkit.admission.case import Case, crd
from sluice.testkit.admission.policies import cluster

PRIORITY = "$.spec.priority"


def tier(name: str, priority: Any, **spec: Any) -> dict[str, Any]:
    return crd("Tier", {"priority": priority, **spec}, name=name)


FULL = tuple(tier(f"t{number}", number) for number in range(1, 15))
"""Together with the six static ones, as many as are allowed."""

_ACCEPTED = (
    Case("the lowest", tier("mine", 0)),
    Case("the highest", tier("mine", 249, description="my custom tier")),
    Case("a static one as it is", tier("emergency", 50)),
    Case("the baseline as it is", tier("baseline", 253, description="[READ-ONLY]")),
    Case("the last that fits", tier("mine", 100 - 1), among=FULL[:-1]),
    Case("a static one when all is full", tier("platform", 200), among=FULL),
    Case("another description", tier("mine", 10, description="new"), among=(tier("mine", 10, description="old"),)),
    Case("another description when all is full", tier("t1", 1, description="new"), among=FULL),
)

_REFUSED = (
    Case("no priority", crd("Tier", {}), (f"{PRIORITY}: missing",)),
    Case(
        "no spec",
        {"apiVersion": "crd.antrea.io/v1beta1", "kind": "Tier", "metadata": {"name": "a"}},
        ("$.spec: missing",),
    ),
    Case("a text", tier("mine", "10"), (f"{PRIORITY}: is text where an integer",)),
    Case("a fraction", tier("mine", 10.5), (f"{PRIORITY}: where an integer",)),
    Case("below", tier("mine", -1), (f"{PRIORITY}: -1 is not the priority of a tier; give one of 0 to 255",)),
    Case("above", tier("mine", 256), (f"{PRIORITY}: 256 is not the priority of a tier",)),
    Case("251", tier("mine", 251), (f"{PRIORITY}: 251 is reserved; give one below 250",)),
    Case("252", tier("mine", 252), (f"{PRIORITY}: 252 is reserved",)),
    Case("254", tier("mine", 254), (f"{PRIORITY}: 254 is reserved",)),
    Case("255", tier("mine", 255), (f"{PRIORITY}: 255 is reserved",)),
    Case("that of application", tier("mine", 250), (f"{PRIORITY}: 250 overlaps with the tier application",)),
    Case("that of the baseline", tier("mine", 253), (f"{PRIORITY}: 253 overlaps with the tier baseline",)),
    Case("a static one elsewhere", tier("emergency", 51), (f"{PRIORITY}: the tier emergency always has priority 50",)),
    Case("one that is taken", tier("b", 10), (f"{PRIORITY}: 10 overlaps with the tier a",), among=(tier("a", 10),)),
    Case(
        "one that changes",
        tier("a", 11),
        (f"{PRIORITY}: has priority 10, which cannot be changed",),
        among=(tier("a", 10),),
    ),
    Case("one more than fits", tier("mine", 99), (f"{PRIORITY}: there are already 20 tiers",), among=FULL),
    Case(
        "a namespace", crd("Tier", {"priority": 1}, namespace="x"), ("$.metadata.namespace: belongs to no namespace",)
    ),
    Case("a name in capitals", tier("Mine", 1), ("$.metadata.name: not a DNS name",)),
    Case("an unknown field", tier("mine", 1, prio=2), ("$.spec.prio: did you mean `priority`",)),
)

ACCEPTED = (
    *_ACCEPTED,
    Case("a tier that exists", cluster(tier="mine"), among=(tier("mine", 10),)),
    Case("a static tier", cluster(tier="securityops")),
    Case("a static tier in capitals", cluster(tier="SecurityOps")),
    Case("no tier", cluster(tier="")),
)

REFUSED = (
    *_REFUSED,
    Case("a tier that does not exist", cluster(tier="mine"), ("$.spec.tier: there is no tier mine",)),
    Case(
        "a tier of another name", cluster(tier="mine"), ("$.spec.tier: there is no tier mine",), among=(tier("my", 10),)
    ),
)
