"""Filters as bytes and back; the numbers are those of the kernel's header."""

import re
from pathlib import Path

import pytest

from sluice.contracts.programs import PortRange
from sluice.dataplane.addresses import network
from sluice.dataplane.protocols import EthType
from sluice.dataplane.tc.filter import Accept, FilterBody, FilterKey, Flower, Hook, Standing
from sluice.drivers.tc import messages
from sluice.drivers.tc.attributes import NotAttributes, attribute, attributes, by_kind, nested
from sluice.drivers.tc.errors import ACK_TLVS, CAPPED, Answer
from sluice.drivers.tc.flower import Key, NotEncodable
from sluice.drivers.tc.messages import Held, Offload, Stranger, hook
from sluice.drivers.tc.netlink import Message
from sluice.testkit.tcfilters import SAMPLES

HEADER = Path("/usr/include/linux/pkt_cls.h")
WHERE = hook(5, Hook.EGRESS)


@pytest.mark.parametrize("name", SAMPLES, ids=lambda name: name.replace(" ", "-"))
def test_there_and_back(name: str) -> None:
    key, body = SAMPLES[name]
    message = messages.add_filter(WHERE, key, 7, body, Offload.SKIP_HW)

    assert messages.read_filter(message) == Held(key, Standing(body, 7), in_hardware=False)


def test_golden() -> None:
    """As tcpdump shows it of `tc filter add dev … egress`; the guest compares all forms with what tc(8) sends."""
    key = FilterKey(1, 10, EthType.IPV4, Flower(ip_proto=6, destination_port=PortRange(80, 80)))

    message = messages.add_filter(WHERE, key, 1, FilterBody((Accept(),), b"0123456789abcdef"), Offload.SKIP_HW)

    assert message.body.hex(" ", 4) == (
        "00000000 05000000 01000000 f3ffffff 08000a00 "  # tcmsg: interface 5, handle 1, egress, pref 10 of IPv4
        "08000b00 01000000 "  # chain 1
        "0b000100 666c6f77 65720000 "  # flower
        "68000280 "  # options
        "06000800 08000000 05000900 06000000 06001300 00500000 "  # IPv4, TCP, port 80
        "44000380 40000180 09000100 67616374 00000000 "  # action 1: gact
        "1c000280 18000200 00000000 00000000 00000000 00000000 00000000 "  # pass
        "14000600 30313233 34353637 38396162 63646566 "  # the cookie
        "08001600 01000000"  # skip_hw
    )


@pytest.mark.skipif(not HEADER.exists(), reason=f"{HEADER} is not installed (linux-libc-dev)")
def test_numbers_are_those_of_the_header() -> None:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(), flags=re.DOTALL)
    found = re.search(r"enum \{\s*(TCA_FLOWER_UNSPEC.*?)\}", text, flags=re.DOTALL)
    assert found
    names = [word.strip() for word in found.group(1).split(",")]

    for key in Key:
        assert names[key].removeprefix("TCA_FLOWER_").removeprefix("KEY_") == key.name


@pytest.mark.parametrize(
    "match",
    [
        Flower(destination_port=PortRange(80, 80)),
        Flower(ip_proto=47, source_port=PortRange(1, 2)),
        Flower(icmp_type=8),
        Flower(source=network("0.0.0.0/0")),
    ],
)
def test_what_the_kernel_has_no_form_for_is_no_message(match: Flower) -> None:
    with pytest.raises(NotEncodable):
        messages.add_filter(WHERE, FilterKey(1, 1, EthType.IPV4, match), 1, FilterBody((), b""), Offload.ANY)


STRANGE = [
    ({Key.IPV4_DST: "0a000000", Key.IPV4_DST_MASK: "ff00ff00"}, "no prefix"),
    ({Key.TCP_DST: "5000", Key.TCP_DST_MASK: "ff00"}, "by the mask ff00"),
    ({72: "0002"}, r"attributes \[72\]"),
    ({Key.UDP_DST: "0050"}, r"attributes \[21\]"),  # of a filter for TCP
]


@pytest.mark.parametrize(("extra", "says"), STRANGE, ids=[says for _, says in STRANGE])
def test_a_match_that_ours_never_have_is_a_strangers(extra: dict[int, str], says: str) -> None:
    key = FilterKey(1, 1, EthType.IPV4, Flower(ip_proto=6))
    message = messages.add_filter(WHERE, key, 1, SAMPLES["to accept"][1], Offload.ANY)
    added = b"".join(attribute(kind, bytes.fromhex(value)) for kind, value in extra.items())

    stranger = messages.read_filter(grown(message, added))

    assert isinstance(stranger, Stranger)
    assert re.search(says, stranger.reason)


def grown(message: Message, added: bytes) -> Message:
    """The message with more attributes among its options."""
    head, rest = message.body[:20], message.body[20:]
    parts = [attribute(kind, value + (added if kind == messages.OPTIONS else b"")) for kind, value in attributes(rest)]
    return Message(message.type, 0, head + b"".join(parts))


def test_hardware_is_read() -> None:
    key, body = SAMPLES["TCP port"]
    message = messages.add_filter(WHERE, key, 7, body, Offload.IN_HW)

    assert messages.read_filter(message) == Held(key, Standing(body, 7), in_hardware=True)


@pytest.mark.parametrize("body", [b"\x08\0", b"\x03\0\x01\0", b"\xff\0\x01\0abcd"])
def test_bytes_that_are_no_attributes_are_refused(body: bytes) -> None:
    with pytest.raises(NotAttributes):
        by_kind(body)


def test_an_answer_says_why() -> None:
    body = (-95).to_bytes(4, "little", signed=True) + bytes(16) + nested(1, b"Not in this driver\0")

    answer = Answer(body, CAPPED | ACK_TLVS)

    assert (answer.code, answer.says) == (95, "Not in this driver")
