"""Lines of np.log and eve.json: the examples of the pages, and that what is written is what is read."""

from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sluice.contracts.audit import FlowDecision, Loss
from sluice.contracts.ids import Address, Unit
from sluice.dataplane.audit import eve, np_line
from sluice.dataplane.audit.np_line import NotALine


class Example(NamedTuple):
    line: str
    says: dict[str, object]


EXAMPLES = {
    "reject": Example(
        "2023/07/04 12:45:21.804416 IngressDefaultRule AntreaNetworkPolicy:default/reject-tcp-policy RejectTCPRequest "
        "Ingress Reject 16 default/nettoolv3 10.10.1.7 53646 10.10.1.14 80 TCP 60 tcp-log-label",
        {
            "at_us": 1688474721804416,
            "table": "IngressDefaultRule",
            "unit": "annps:default:reject-tcp-policy",
            "rule": "RejectTCPRequest",
            "action": "Reject",
            "priority": 16,
            "applied_to": "default/nettoolv3",
            "source_port": 53646,
            "destination_port": 80,
            "length": 60,
            "label": "tcp-log-label",
            "packets": 1,
        },
    ),
    "repeated": Example(
        "2023/07/03 23:24:37.424024 AntreaPolicyEgressRule AntreaNetworkPolicy:default/reject-icmp-policy "
        "RejectICMPRequest Egress Reject 14500 default/nettool 10.10.1.7 <nil> 10.10.2.3 <nil> ICMP 84 icmp-log-label "
        "[2 packets in 1.000855539s]",
        {"packets": 2, "within_us": 1_000_856, "source_port": None, "protocol": "ICMP", "label": "icmp-log-label"},
    ),
    "allowed by a Kubernetes policy": Example(
        "2023/07/04 12:31:02.801442 IngressRule K8sNetworkPolicy:default/allow-tcp-80 <nil> Ingress Allow 190 "
        "default/nettool 10.10.1.13 57050 10.10.1.7 80 TCP 60 <nil>",
        {"unit": "k8snetworkpolicies:default:allow-tcp-80", "rule": "", "action": "Allow", "label": ""},
    ),
    "isolated": Example(
        "2023/07/04 12:33:26.221413 IngressDefaultRule K8sNetworkPolicy <nil> Ingress Drop <nil> default/nettool "
        "10.10.1.13 <nil> 10.10.1.7 <nil> ICMP 84 <nil>",
        {"policy": "K8sNetworkPolicy", "unit": None, "priority": None, "action": "Drop"},
    ),
    "cluster-wide": Example(
        "2025/01/02 03:04:05.678901 AntreaPolicyEgressRule AntreaClusterNetworkPolicy:acnp-1 web Egress Redirect 14500 "
        "shop/web-0 fd00::1 40112 fd00::2 80 TCP 60 <nil>",
        {"unit": "acnps:_:acnp-1", "action": "Redirect", "source": "fd00::1"},
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_of_the_pages(name: str) -> None:
    line, says = EXAMPLES[name]
    read = np_line.read(line)

    assert {field: getattr(read, field) for field in says} == says
    if "[" not in line:  # Go's nanoseconds are more than we keep
        assert np_line.write(read) == line


def test_a_line_about_what_was_lost_has_as_many_fields_as_any_other() -> None:
    loss = Loss(at_us=1688474721804416, lines=1234, reason="over-rate")
    line = np_line.write(loss)

    assert line == f"2023/07/04 12:45:21.804416 AuditLoss {'<nil> ' * 12}over-rate [1234 packets in 1s]"
    assert np_line.read(line) == loss


NOT_LINES = {
    "empty": "",
    "half": "2023/07/04 12:45:21.804416 IngressDefaultRule AntreaNet",
    "another time": EXAMPLES["reject"].line.replace("2023/07/04", "2023-07-04"),
    "another action": EXAMPLES["reject"].line.replace(" Reject ", " Explode "),
    "another direction": EXAMPLES["reject"].line.replace(" Ingress ", " Sideways "),
    "a port that is none": EXAMPLES["reject"].line.replace(" 53646 ", " http "),
    "no length": EXAMPLES["reject"].line.replace(" 60 ", " <nil> "),
    "no duration": EXAMPLES["repeated"].line.replace("1.000855539s", "soon"),
    "bytes that are no text": EXAMPLES["reject"].line.replace("tcp-log-label", "%FF"),
}


@pytest.mark.parametrize("name", NOT_LINES)
def test_what_is_no_line_says_why(name: str) -> None:
    with pytest.raises(NotALine, match=r"."):
        np_line.read(NOT_LINES[name])


words = st.text(max_size=12)
ports = st.none() | st.integers(0, 65535)
decisions = st.builds(
    FlowDecision,
    at_us=st.integers(0, 2_000_000_000_000_000),
    table=st.text(min_size=1, max_size=9),
    policy=st.text(min_size=1, max_size=9),
    unit=st.none(),
    rule=words,
    direction=st.sampled_from(["Ingress", "Egress"]),
    action=st.sampled_from(["Allow", "Drop", "Reject", "Pass", "Redirect"]),
    priority=ports,
    applied_to=words,
    source=st.just(Address("10.0.0.1")),
    source_port=ports,
    destination=st.just(Address("fd00::1")),
    destination_port=ports,
    protocol=st.sampled_from(["TCP", "ICMP"]),
    length=st.integers(20, 65535),
    label=words,
    packets=st.integers(1, 9),
    within_us=st.integers(0, 1_999_999),
)


NAMED_NOTHING = FlowDecision(
    at_us=0,
    table="0",
    policy="<nil>",
    rule="<nil>",
    direction="Ingress",
    action="Allow",
    source=Address("10.0.0.1"),
    destination=Address("10.0.0.2"),
    protocol="TCP",
    length=20,
)


@given(decisions)
@example(NAMED_NOTHING)
def test_what_is_written_is_read_and_is_one_line(decision: FlowDecision) -> None:
    line = np_line.write(decision)
    read = np_line.read(line)

    assert line.isascii() or "µ" in line
    assert len(line.splitlines()) == 1
    for field in FlowDecision.__struct_fields__:
        if field == "within_us" and decision.packets == 1:
            continue  # said of repeated ones alone
        # `<nil>` as a name is the same as none.
        assert getattr(read, field) in (getattr(decision, field), "" if getattr(decision, field) == "<nil>" else ()), (
            field
        )


@pytest.mark.parametrize(
    ("policy", "unit"),
    [
        ("AntreaNetworkPolicy:x/p", Unit("annps:x:p")),
        ("AntreaClusterNetworkPolicy:p", Unit("acnps:_:p")),
        ("K8sNetworkPolicy:x/p", Unit("k8snetworkpolicies:x:p")),
        ("K8sNetworkPolicy", None),
        ("AntreaNetworkPolicy:p", None),
        ("AntreaClusterNetworkPolicy:x/p", None),
        ("Other:x/p", None),
        ("", None),
    ],
)
def test_units_of_policies(policy: str, unit: Unit | None) -> None:
    assert np_line.unit_of(policy) == unit


ALERT = (
    b'{"timestamp":"2024-09-05T22:49:24.788756+0000","flow_id":1131530446896560,"in_iface":"antrea-l7-tap0",'
    b'"event_type":"alert","vlan":[2],"src_ip":"10.10.1.4","src_port":45034,"dest_ip":"10.10.1.3","dest_port":80,'
    b'"proto":"TCP","tenant_id":2,"alert":{"action":"blocked","gid":1,"signature_id":1,"rev":0,"signature":'
    b'"Reject by AntreaNetworkPolicy:default/allow-privileged-url-to-admin-role","severity":3}}'
)


def test_an_alert_names_the_policy_that_denied() -> None:
    event = eve.read(ALERT)

    assert event.unit == "annps:default:allow-privileged-url-to-admin-role"
    assert event.allowed is False
    assert (event.source, event.source_port, event.destination_port, event.vlan) == ("10.10.1.4", 45034, 80, 2)
    assert event.at_us == 1725576564788756


def test_a_request_that_passed() -> None:
    line = (
        b'{"timestamp":"2024-08-26T22:37:30.895673+0000","flow_id":7,"event_type":"http","src_ip":"10.10.1.9",'
        b'"dest_ip":"10.10.1.10","proto":"TCP","http":{"hostname":"10.10.1.10","url":"/public/index.html",'
        b'"http_method":"GET","status":200}}'
    )
    event = eve.read(line)

    assert event.allowed is True
    assert (event.host, event.method, event.url, event.status) == ("10.10.1.10", "GET", "/public/index.html", 200)


@pytest.mark.parametrize("line", [b"", b"{", b'{"event_type":"http"}', b"[]", ALERT.replace(b"2024-09", b"2024/09")])
def test_what_is_no_event_says_why(line: bytes) -> None:
    with pytest.raises(NotALine, match=r"."):
        eve.read(line)
