"""The number of examples for a law: a share of the Hypothesis profile's, as some laws cost more than others."""

from hypothesis import settings


def share(percent: int) -> settings:
    """Settings with this share of the profile's examples, so that `SLUICE_HYPOTHESIS=thorough` affects every law."""
    return settings(max_examples=max(1, settings().max_examples * percent // 100))
