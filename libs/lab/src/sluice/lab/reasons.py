"""Verdicts in words: what decided about a packet."""

import re
from collections.abc import Mapping
from typing import assert_never

from msgspec.structs import replace

from sluice.contracts.ids import Address, NodeName
from sluice.contracts.kinds import RESOURCES
from sluice.contracts.programs import Action, Origin, ServiceRef
from sluice.kube.manifest import Document
from sluice.lab.checks import Question
from sluice.lab.ends import AT, NAME_END, NODE_END, NODE_PORT_END, SERVICE_END, prefix
from sluice.lab.scenario import HttpRequest, IcmpMessage, TlsHello
from sluice.lab.world import Key
from sluice.policy import l7
from sluice.policy.ends import NoSuchEnd
from sluice.policy.packet import AddressEnd, End, Packet, PodEnd, ServiceEnd
from sluice.policy.services import Asked
from sluice.policy.state import ClusterState
from sluice.policy.verdict import Decision, Isolation, Itself, NoPolicy, Outcome, OwnNode, RuleRef, Verdict, verdict

_VERBS = {Action.ALLOW: "allows", Action.DROP: "drops", Action.REJECT: "rejects", Action.PASS: "passes"}

NO_REASON = "no policy applies"


def state_of(objects: Mapping[Key, Document]) -> ClusterState:
    """The cluster state that consists of these objects."""
    return ClusterState(document.object for document in objects.values())


def judged(state: ClusterState, question: Question) -> Verdict:
    """The verdict of policy on the question's packet.

    If several requests are sent at once, the first denied one decides.

    Raises:
        NoSuchEnd: an end of it is not a Pod of the state.
    """
    *earlier, last = (replace(question, asks=one, pipelined=()) for one in (question.asks, *question.pipelined))
    for one in earlier:
        given = _judged(state, one)
        if given.outcome is not Outcome.ALLOWED:
            return given
    return _judged(state, last)


def _judged(state: ClusterState, question: Question) -> Verdict:
    if prefix(question.to) == NODE_PORT_END:
        return _judged_node_port(state, question)
    source, target = _end(question.from_, question.source), _end(question.to, question.address)
    if _is_its_node(state, question):
        return Verdict(outcome=Outcome.ALLOWED, egress=None, ingress=None)
    echo = IcmpMessage(type=128 if ":" in question.address else 8)  # RFC 4443 section 4.1, RFC 792
    icmp = (question.icmp or echo) if question.protocol == "ICMP" else None
    return verdict(
        state,
        Packet(
            source=source,
            destination=target,
            protocol=question.protocol,
            port=question.port or None,
            source_port=question.source_port or None,
            icmp_type=icmp.type if icmp else None,
            icmp_code=icmp.code if icmp else None,
            family=6 if ":" in question.address else 4,
            asks=_asked(question),
            fqdn=question.to.removeprefix(NAME_END) if prefix(question.to) == NAME_END else "",
        ),
    )


def _asked(question: Question) -> l7.Asked | None:
    match question.asks:
        case HttpRequest(method=method, path=path, host=host):
            return l7.HttpRequest(method=method, host=re.sub(r":\d+$", "", host), path=re.split("[?#]", path)[0])
        case TlsHello(sni=sni):
            return l7.TlsHello(sni=sni)
        case None:
            return None
        case _:
            assert_never(question.asks)


def _judged_node_port(state: ClusterState, question: Question) -> Verdict:
    """The common verdict on all endpoints that may get the packet.

    Raises:
        NoSuchEnd: the verdicts differ.
    """
    namespace, _, service = question.to.removeprefix(prefix(question.to)).partition("@")[0].partition("/")
    ref = ServiceRef(namespace=namespace, name=service)
    pod = (
        None if prefix(question.from_) else state.pods.get((question.from_.split("/")[0], question.from_.split("/")[1]))
    )
    client = pod if pod is not None and pod.on_pod_network else None
    if question.protocol == "ICMP":
        return _NOBODY
    asked = Asked(
        ref,
        question.protocol,
        question.port,
        6 if ":" in question.address else 4,
        question.node,
        client.node if client else NodeName(""),
    )
    found = state.services.endpoints(asked)
    if not found:
        return _NOBODY if found is None else Verdict(outcome=Outcome.REJECTED, egress=None, ingress=None)
    said = [
        verdict(
            state,
            Packet(
                source=_end(question.from_, question.source),
                destination=AddressEnd(address),
                protocol=question.protocol,
                port=port,
                source_port=question.source_port or None,
                service=ref,
                node_port=True,
                masked=question.masked if _node_of(state, address) != question.node else None,
                family=6 if ":" in address else 4,
                asks=_asked(question),
            ),
        )
        for address, port in found
    ]
    if len({one.outcome for one in said}) > 1:
        outcomes = ", ".join(f"{address} {one.outcome}" for (address, _), one in zip(found, said, strict=True))
        raise NoSuchEnd(f"{question.to}: its endpoints fare differently ({outcomes}); ask a Service with one of them")
    return said[0]


def _node_of(state: ClusterState, address: Address) -> NodeName:
    holder = state.holder(address)
    return holder.node if holder else NodeName("")


_NOBODY = Verdict(outcome=Outcome.DROPPED, egress=None, ingress=None)
"""The verdict for a Service that does not have the port."""


def _end(name: str, address: Address) -> End:
    """All ends but Pods and Services are identified by their addresses."""
    if prefix(name) == SERVICE_END:
        return ServiceEnd(*name.removeprefix(SERVICE_END).split("/", 1))
    if prefix(name):
        return AddressEnd(address)
    pod, _, network = name.partition(AT)
    namespace, _, pod_name = pod.partition("/")
    return PodEnd(namespace, pod_name, network)


def _is_its_node(state: ClusterState, question: Question) -> bool:
    """A node can always reach its own Pods, whatever policies say."""
    namespace, _, name = question.to.partition("/")
    target = state.pods.get((namespace, name))
    return target is not None and question.from_ == f"{NODE_END}{target.node}"


def why(given: Verdict) -> str:
    """What decided, in one line: the direction that refuses, or else both."""
    parts = []
    for direction, decision in (("egress", given.egress), ("ingress", given.ingress)):
        if decision is None:
            continue
        if decision.action is not Action.ALLOW:
            return f"{direction}: {decision_words(decision)}"
        if not isinstance(decision.reason, NoPolicy):
            parts.append(f"{direction}: {decision_words(decision)}")
    return "; ".join(parts) or NO_REASON


def decision_words(decision: Decision) -> str:
    reason = decision.reason
    match reason:
        case RuleRef():
            name = f" ({reason.name})" if reason.name else ""
            return f"{origin_words(reason.origin)} {_VERBS[reason.action]} by rule {reason.index}{name}"
        case Isolation():
            return f"isolated by {', '.join(origin_words(origin) for origin in reason.policies)}, no rule allows it"
        case NoPolicy():
            return NO_REASON
        case Itself():
            return "a Pod may talk to itself"
        case OwnNode():
            return "a node may always reach its Pods"
        case _:
            assert_never(reason)


def origin_words(origin: Origin) -> str:
    where = f"{origin.namespace}/" if origin.namespace else ""
    return f"{RESOURCES[origin.kind].kind} {where}{origin.name}"
