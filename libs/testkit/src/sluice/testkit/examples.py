"""How many examples a law is tried with: a share of what the Hypothesis profile says, as some cost more than others."""

from hypothesis import settings


def share(percent: int) -> settings:
    """Settings with this share of the profile's examples, so that `SLUICE_HYPOTHESIS=thorough` means every law."""
    return settings(max_examples=max(1, settings().max_examples * percent // 100))
