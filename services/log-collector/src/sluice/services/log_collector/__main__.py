"""`python -m sluice.services.log_collector`."""

from sluice.runtime import service
from sluice.services.log_collector.app import SERVICE, main
from sluice.services.log_collector.settings import LogCollectorSettings

service.run(SERVICE, LogCollectorSettings, main)
