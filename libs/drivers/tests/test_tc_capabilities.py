"""Which kernels can enforce policy."""

import pytest

from sluice.drivers.tc.capabilities import check
from sluice.drivers.tc.errors import KernelTooOld


@pytest.mark.parametrize("release", ["5.12.0", "5.17.9-generic", "6.1.0-56-amd64", "10.0", "unheard-of"])
def test_new_enough(release: str) -> None:
    check(release)


@pytest.mark.parametrize("release", ["5.11.22", "4.18.0-553.el8", "5.4.0-1"])
def test_too_old(release: str) -> None:
    with pytest.raises(KernelTooOld, match=r"cannot tell replies from requests.*takes 5\.12"):
        check(release)
