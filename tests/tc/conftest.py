"""The guests in which tests with TC run: each boots once, when the first test asks for it."""

from collections.abc import Iterator

import pytest

from sluice.lab.guest import qemu, uml
from sluice.lab.guest.guest import Guest


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """Everything the kernel has, conntrack zones included; slow."""
    guest = qemu.boot(tmp_path_factory.mktemp("whole"))
    yield guest
    guest.stop()


@pytest.fixture(scope="session")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """At nearly native speed, without conntrack zones."""
    guest = uml.boot(tmp_path_factory.mktemp("quick"))
    yield guest
    guest.stop()


@pytest.fixture(params=["whole", "quick"])
def guest(request: pytest.FixtureRequest) -> Guest:
    """Both, one after the other."""
    found: Guest = request.getfixturevalue(request.param)
    return found
