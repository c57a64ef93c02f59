"""`python -m sluice.services.node_host`; with `--remove`, deletes our table from the kernel and exits."""

import os
import sys
from pathlib import Path

from sluice.drivers.nftables.tables import NoNft, Refused, Tables
from sluice.runtime import service
from sluice.services.node_host.app import SERVICE, main
from sluice.services.node_host.settings import NodeHostSettings

REMOVE = "--remove"

if sys.argv[1:] == [REMOVE]:
    netns = os.environ.get(service.prefix(SERVICE) + "NETNS")
    try:
        print("removed" if Tables(Path(netns) if netns else None).remove() else "there was nothing of Sluice to remove")
    except (NoNft, Refused, OSError) as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    sys.exit(0)
if sys.argv[1:]:
    print(f"{' '.join(sys.argv[1:])}: node-host takes {REMOVE} or nothing, see its README", file=sys.stderr)
    sys.exit(2)
service.run(SERVICE, NodeHostSettings, main)
