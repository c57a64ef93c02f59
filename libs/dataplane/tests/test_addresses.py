"""Covers hold exactly what they should, and no part twice."""

from ipaddress import IPv4Address
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.dataplane.addresses import WIDTH, Block, NotAnAddress, address, cover, network, port_masks

BLOCK_CASES = [
    ("no except", "10.0.0.0/8", [], ["10.0.0.0/8"]),
    ("all is excepted", "10.0.0.0/8", ["10.0.0.0/8"], []),
    ("the except is wider", "10.0.0.0/8", ["0.0.0.0/0"], []),
    ("the except is elsewhere", "10.0.0.0/8", ["11.0.0.0/8"], ["10.0.0.0/8"]),
    ("the except is of the other version", "10.0.0.0/8", ["::/0"], ["10.0.0.0/8"]),
    ("one half", "10.0.0.0/8", ["10.128.0.0/9"], ["10.0.0.0/9"]),
    ("one address", "10.0.0.0/30", ["10.0.0.1/32"], ["10.0.0.0/32", "10.0.0.2/31"]),
    ("excepts that overlap", "10.0.0.0/30", ["10.0.0.0/31", "10.0.0.1/32"], ["10.0.0.2/31"]),
    ("two excepts", "10.0.0.0/29", ["10.0.0.1/32", "10.0.0.6/31"], ["10.0.0.0/32", "10.0.0.2/31", "10.0.0.4/31"]),
    ("IPv6", "fd00::/126", ["fd00::3/128"], ["fd00::/127", "fd00::2/128"]),
    ("everything but one", "0.0.0.0/0", ["128.0.0.0/1"], ["0.0.0.0/1"]),
    ("bits beyond the prefix", "10.1.2.3/8", [], ["10.0.0.0/8"]),
]


@pytest.mark.parametrize(
    ("cidr", "excepts", "want"), [case[1:] for case in BLOCK_CASES], ids=[c[0] for c in BLOCK_CASES]
)
def test_a_cidr_without_its_excepts(cidr: str, excepts: list[str], want: list[str]):
    assert list(cover(network(cidr), map(network, excepts))) == [network(text) for text in want]


# The last four bits of an IPv4 network stand for all: 16 addresses can be listed.
small_blocks = st.builds(
    lambda value, prefix: Block(4, value >> (32 - prefix) << (32 - prefix), prefix),
    st.integers(0, 15),
    st.integers(28, 32),
)


def listed(block: Block) -> set[int]:
    return {value for value in range(16) if value & block.mask == block.value}


@given(small_blocks, st.lists(small_blocks, max_size=4))
def test_a_cover_holds_what_is_left_and_nothing_twice(block: Block, excepts: list[Block]):
    parts = list(cover(block, excepts))

    left = listed(block) - {value for other in excepts for value in listed(other)}
    assert [value for part in parts for value in sorted(listed(part))] == sorted(left)
    assert len(parts) <= 1 + sum(32 - block.prefix for _ in excepts)
    for one, other in pairwise(parts):  # two halves of a block would have been that block
        assert one.prefix != other.prefix or one.value | 1 << (32 - one.prefix) != other.value


PORT_CASES = [
    ("one", 80, 80, [(80, 0xFFFF)]),
    ("all", 0, 65535, [(0, 0)]),
    ("an aligned pair", 80, 81, [(80, 0xFFFE)]),
    ("a pair that is not aligned", 81, 82, [(81, 0xFFFF), (82, 0xFFFF)]),
    ("the upper half", 32768, 65535, [(32768, 0x8000)]),
    ("the last one", 65535, 65535, [(65535, 0xFFFF)]),
    ("upside down", 81, 80, []),
    (
        "ephemeral ports",
        1000,
        1999,
        [
            (1000, 0xFFF8),
            (1008, 0xFFF0),
            (1024, 0xFE00),
            (1536, 0xFF00),
            (1792, 0xFF80),
            (1920, 0xFFC0),
            (1984, 0xFFF0),
        ],
    ),
]


@pytest.mark.parametrize(("first", "last", "want"), [c[1:] for c in PORT_CASES], ids=[c[0] for c in PORT_CASES])
def test_port_masks(first: int, last: int, want: list[tuple[int, int]]):
    assert list(port_masks(first, last)) == want


@given(st.integers(0, 65535), st.integers(0, 65535))
def test_port_masks_hold_exactly_the_range(first: int, last: int):
    masks = list(port_masks(first, last))

    assert sum(0x10000 - mask for _, mask in masks) == max(0, last - first + 1)
    assert all(first <= value <= value | (0xFFFF ^ mask) <= last for value, mask in masks)
    assert len(masks) <= 30


@pytest.mark.parametrize("text", ["", "10.0.0.300", "10.0.0.1/32", "fe80::1%eth0", "web"])
def test_what_is_no_address_is_refused_by_name(text: str):
    with pytest.raises(NotAnAddress, match=r"is not an IP address|has a scope"):
        address(text)


@pytest.mark.parametrize("text", ["", "10.0.0.0/33", "10.0.0.0/x", "fd00::/129", "all"])
def test_what_is_no_cidr_is_refused_by_name(text: str):
    with pytest.raises(NotAnAddress, match="is not a CIDR such as"):
        network(text)


def test_widths_are_those_of_the_fields():
    assert WIDTH[address("10.0.0.1").version] == address("10.0.0.1").prefix == 32
    assert WIDTH[address("fd00::1").version] == address("fd00::1").prefix == 128


@given(st.integers(0, (1 << 32) - 1))
def test_one_address_as_a_cidr_is_read_as_any_other(value: int):
    assert network(f"{IPv4Address(value)}/32") == (4, value, 32)


@pytest.mark.parametrize("text", ["10.0.0.256/32", "10.0.0.01/32", "10.0.0/32", "10.0.0.1/32 ", "1000.0.0.1/32"])
def test_what_only_looks_like_one_address_is_none(text: str):
    with pytest.raises(NotAnAddress):
        network(text)
