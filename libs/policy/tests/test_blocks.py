"""The excepts of a block: what is inside another is left out, and many take no time to speak of."""

from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.policy.translate import blocks
from sluice.policy.translate.blocks import block

NETWORKS = st.builds(
    lambda number, length: ip_network((10 << 24 | number << 16, length), strict=False),
    st.integers(0, 255),
    st.integers(9, 24),
)


@given(st.lists(NETWORKS, max_size=12))
def test_only_the_outermost_are_left(holes: list[IPv4Network]) -> None:
    made = block("10.0.0.0/8", tuple(map(str, holes)))

    left = [IPv4Network(one) for one in made.excepts]
    assert left == sorted(
        {one for one in holes if not any(one != other and one.subnet_of(other) for other in holes)},
        key=lambda one: int(one.network_address),
    )


def test_each_except_is_compared_with_a_few_others_only(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    within = blocks._within

    def counting(inner: IPv4Network | IPv6Network, outer: IPv4Network | IPv6Network) -> bool:
        nonlocal compared
        compared += 1
        return within(inner, outer)

    monkeypatch.setattr(blocks, "_within", counting)
    holes = tuple(f"10.{number >> 8}.{number & 255}.0/24" for number in range(2_000))

    assert block("0.0.0.0/0", holes).excepts == holes
    assert compared <= 2 * len(holes)
