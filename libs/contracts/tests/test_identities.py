"""The table of who may do what, by its own words; that a server goes by it is tested with one."""

import pytest

from sluice.contracts import identities, subjects
from sluice.contracts.identities import OPERATOR, OWNER, SERVICES, Identity, grants
from sluice.contracts.ids import NodeName

NODE = identities.node(NodeName("node-1"))
EVERYBODY = [NODE, *(Identity("service", name) for name in sorted(SERVICES))]


def covers(pattern: str, subject: str) -> bool:
    wanted, tokens = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        if len(tokens) < len(wanted):
            return False
        wanted, tokens = wanted[:-1], tokens[: len(wanted) - 1]
    return len(wanted) == len(tokens) and all(w in ("*", t) for w, t in zip(wanted, tokens, strict=True))


def may_publish(identity: Identity, subject: str) -> bool:
    return any(covers(pattern, subject) for pattern in grants(identity).publish)


def may_subscribe(identity: Identity, subject: str) -> bool:
    return any(covers(pattern, subject) for pattern in grants(identity).subscribe)


@pytest.mark.parametrize(
    ("subject", "may"),
    [
        ("status.node-1.ovs", True),
        ("status.node-1.host", True),
        ("stats.node-1.tc", True),
        ("audit.node-1.np", True),
        ("multicast.node-1", True),
        ("status.node-2.ovs", False),
        ("stats.node-2.ovs", False),
        ("audit.node-2.np", False),
        ("multicast.node-2", False),
        ("status._source.folder", False),
        ("objects.pods.x.y", False),
        ("groups._own.node-1.0", False),
        ("programs.ovs._all.x", False),
        ("live.groups.x.node-1", False),
        ("ledger._checkpoint.1.1", False),
        ("$KV.sluice_leases.group-resolver.0", False),
        ("$JS.API.DIRECT.GET.GROUPS", True),
        ("$JS.API.DIRECT.GET.PROGRAMS", True),
        ("$JS.API.DIRECT.GET.OBJECTS", False),
        ("$JS.API.DIRECT.GET.STATUS", False),
        ("$JS.API.DIRECT.GET.STATUS.status.node-1.ovs", True),
        ("$JS.API.DIRECT.GET.STATUS.status.node-2.ovs", False),
        ("$JS.API.STREAM.INFO.GROUPS", True),
        ("$JS.API.STREAM.INFO.LEDGER", False),
        ("$JS.API.STREAM.MSG.GET.AUDIT", False),
        ("$JS.API.CONSUMER.CREATE.GROUPS.x", False),
        ("$JS.API.STREAM.DELETE.GROUPS", False),
        ("_sluice.explain.node-2.ovs", False),
    ],
)
def test_a_node_publishes_and_asks(subject: str, may: bool) -> None:
    assert may_publish(NODE, subject) is may


@pytest.mark.parametrize(
    ("subject", "may"),
    [
        ("live.groups.x.node-2", True),
        ("live.programs.ovs.x.y", True),
        ("live.programs._mark.tc.0", True),
        ("_INBOX.node.node-1.x", True),
        ("_sluice.explain.node-1.ovs", True),
        ("_sluice.explain.node-2.ovs", False),
        ("_sluice.trace.node-2", False),
        ("_INBOX.node.node-2.x", False),
        ("_INBOX.service.ingest.x", False),
        ("objects.pods.x.y", False),
        ("status.node-2.ovs", False),
        ("audit.node-1.np", False),
    ],
)
def test_a_node_hears(subject: str, may: bool) -> None:
    assert may_subscribe(NODE, subject) is may


@pytest.mark.parametrize(
    ("subject", "who"),
    [
        ("objects.pods.x.y", ["ingest"]),
        ("groups._mark.0", ["group-resolver"]),
        ("programs.ovs.g.u", ["rule-compiler"]),
        ("status._compiler.0", ["rule-compiler"]),
        ("status._source.folder", ["ingest"]),
        ("ledger._checkpoint.1.1", ["query-api"]),
        ("$KV.sluice_leases.status-writer.0", ["status-writer"]),
        ("$JS.API.STREAM.CREATE.LEDGER", ["ingest"]),
        ("$JS.API.STREAM.UPDATE.GROUPS", ["ingest"]),
        ("$JS.API.STREAM.DELETE.OBJECTS", ["ingest"]),
        ("$JS.API.STREAM.DELETE.LEDGER", []),
        ("$JS.API.STREAM.PURGE.LEDGER", []),
        ("$JS.API.STREAM.MSG.DELETE.LEDGER", []),
        ("live.groups.x.y", []),
    ],
)
def test_one_service_alone_publishes(subject: str, who: list[str]) -> None:
    assert [identity.name for identity in EVERYBODY if may_publish(identity, subject)] == who


def test_every_answer_comes_to_a_place_of_its_own() -> None:
    for one in EVERYBODY:
        others = [other for other in EVERYBODY if other != one]
        assert may_subscribe(one, f"{one.inbox}.x")
        assert not any(may_subscribe(other, f"{one.inbox}.x") for other in others)


def test_a_node_may_be_called_like_a_service() -> None:
    assert identities.node(NodeName("ingest")).inbox != OWNER.inbox


def test_dots_of_a_name_are_no_levels() -> None:
    node = identities.node(NodeName("a.b"))

    assert node.text == "node.a_b"
    assert may_publish(node, subjects.status(NodeName("a.b"), "ovs"))


@pytest.mark.parametrize(
    ("service", "node", "identity"),
    [
        ("node-ovs", "n", Identity("node", "n")),
        ("log-collector", "n", Identity("node", "n")),
        ("ingest", None, Identity("service", "ingest")),
    ],
)
def test_a_service_of_a_node_goes_by_the_nodes_name(service: str, node: NodeName | None, identity: Identity) -> None:
    assert identities.of_service(service, node) == identity


def test_an_unknown_service_has_nothing() -> None:
    with pytest.raises(LookupError, match=r"service\.nobody: no such identity"):
        grants(Identity("service", "nobody"))


def test_the_operator_may_do_everything() -> None:
    assert may_publish(OPERATOR, "$JS.API.STREAM.DELETE.LEDGER")
    assert OPERATOR.api == identities.JETSTREAM_API
    assert NODE.api != identities.JETSTREAM_API


def test_the_api_alone_asks_others_and_each_serves_what_is_its_own() -> None:
    assert [one.text for one in EVERYBODY if grants(one).asks_all] == ["service.query-api"]
    assert {one.text: grants(one).serve for one in EVERYBODY if grants(one).serve} == {
        "node.node-1": ("_sluice.explain.node-1.*",),
        "service.ingest": ("_sluice.write",),
    }
