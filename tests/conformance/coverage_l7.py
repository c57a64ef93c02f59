"""The part of docs/conformance.md about layer 7 rules: which packets of the scenarios they decide."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from tests.conformance.deciding import PLACES, Decided, decided, rule_of

from sluice.contracts.antrea import AntreaRule, L7Protocol
from sluice.contracts.kinds import Kind
from sluice.contracts.objects import Pod
from sluice.contracts.programs import Action, Direction
from sluice.contracts.services import Service
from sluice.lab import reading
from sluice.lab.ends import EXTERNAL_END, NODE_PORT_END, SERVICE_END, ends_of, prefix
from sluice.lab.world import Key, World
from sluice.policy.verdict import RuleRef

ENTRIES = ("path", "host", "method", "several fields", "any request", "sni", "any handshake")
"""What an entry of a layer 7 rule may name."""

ENDS_OF_L7 = ("Pod", "Service", "outside")
FATES = (*(f"{end} {fate}" for end in ENDS_OF_L7 for fate in ("allowed", "denied")), "not TCP")

HEAD = """\
## Layer 7 rules

`l7Protocols` of both Antrea kinds. What a rule with such an entry decides: of connections between Pods, by a Service
(or a NodePort), and with a host beyond the cluster; and of what is not TCP, which is dropped. `≠` is two nodes.
""".replace("≠", "\N{NOT EQUAL TO}")


class Inspected(NamedTuple):
    """A packet that a layer 7 rule decided."""

    direction: Direction
    entry: str
    fate: str
    place: str


def inspected(stories: Sequence[reading.Story]) -> set[Inspected]:
    """The packets of the scenarios that layer 7 rules decide."""
    return {
        one for story in stories if not story.scenario.offline for each in decided(story) for one in _inspected(each)
    }


def _inspected(given: Decided) -> Iterator[Inspected]:
    if not isinstance(given.by, RuleRef):
        return
    rule, question = rule_of(given.world, given.by), given.question
    kinds = {prefix(question.from_), prefix(question.to)}
    if EXTERNAL_END in kinds and NODE_PORT_END not in kinds:
        end = "outside"
    else:
        end = "Service" if kinds & {SERVICE_END, NODE_PORT_END} else "Pod"
    place = given.place
    if (node := _serving(given.world, question.to)) and node == ends_of(given.world)[question.from_].node:
        place = place[0] + PLACES[0][1]
    fate = f"{end} {'allowed' if given.action is Action.ALLOW else 'denied'}"
    for one in rule.l7_protocols if isinstance(rule, AntreaRule) else ():
        yield Inspected(given.direction, _entry(one), fate if question.protocol == "TCP" else "not TCP", place)


def _serving(world: World, end: str) -> str:
    """The node of the Pods behind a Service, if it is one."""
    if prefix(end) not in (SERVICE_END, NODE_PORT_END):
        return ""
    namespace, _, name = end.removeprefix(prefix(end)).partition("@")[0].partition("/")
    made = world.objects[Key(Kind.SERVICE, namespace, name)].object
    assert isinstance(made, Service), made
    nodes = {
        pod.spec.node_name
        for document in world.objects.values()
        if isinstance(pod := document.object, Pod) and pod.metadata.namespace == namespace
        if made.spec.selector.items() <= pod.metadata.labels.items()
    }
    return nodes.pop() if len(nodes) == 1 else ""


def _entry(one: L7Protocol) -> str:
    if one.tls is not None:
        return "sni" if one.tls.sni else "any handshake"
    assert one.http is not None
    fields = [name for name in ("path", "host", "method") if getattr(one.http, name)]
    return "any request" if not fields else fields[0] if len(fields) == 1 else "several fields"


def table(found: set[Inspected]) -> str:
    lines = [HEAD, "| direction | entry | " + " | ".join(FATES) + " |", "|---" * (2 + len(FATES)) + "|"]
    for direction, entry in product(Direction, ENTRIES):
        marks = (
            " ".join(place for place in PLACES if Inspected(direction, entry, fate, place) in found) for fate in FATES
        )
        lines.append(f"| {direction} | {entry} | " + " | ".join(marks) + " |")
    return "\n".join([*lines, ""])
