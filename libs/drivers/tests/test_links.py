"""What interfaces say of themselves, in a namespace of the test's own."""

import os
import subprocess
from pathlib import Path

import pytest

from sluice.drivers import links
from sluice.drivers.namespaces import inside

pytestmark = pytest.mark.datapath


@pytest.fixture
def namespace():
    name = f"links-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    for words in (
        "link add alone type veth peer name part",
        "link add name bridge0 type bridge",
        "link set part master bridge0",
    ):
        subprocess.run(["ip", "-n", name, *words.split()], check=True)
    yield Path("/run/netns", name)
    subprocess.run(["ip", "netns", "del", name], check=True)


def test_a_part_of_a_bridge_says_so(namespace):
    assert inside(namespace, lambda: links.master_of("part")) == "bridge0"
    assert inside(namespace, lambda: links.master_of("alone")) is None
    with pytest.raises(OSError, match="no interface"):
        inside(namespace, lambda: links.master_of("nobody"))
