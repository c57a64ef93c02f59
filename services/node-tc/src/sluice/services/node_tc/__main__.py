"""`python -m sluice.services.node_tc`."""

import os
import sys

from sluice.drivers.tc.capabilities import check
from sluice.drivers.tc.errors import KernelTooOld
from sluice.runtime import service
from sluice.services.node_tc import flags
from sluice.services.node_tc.app import SERVICE, main
from sluice.services.node_tc.settings import NodeTcSettings

try:
    given = flags.parse(sys.argv[1:])
    if given.help:
        print(flags.usage())
        sys.exit(0)
    check(os.uname().release)
except (flags.BadFlag, KernelTooOld) as error:
    print(error, file=sys.stderr)
    sys.exit(2)
for warning in given.warnings:
    print(f"warning: {warning}", file=sys.stderr)
prefix = service.prefix(SERVICE)
service.run(SERVICE, NodeTcSettings, main, {**os.environ, **{prefix + k: v for k, v in given.environment.items()}})
