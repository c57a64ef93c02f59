"""`python -m sluice.services.status_writer`."""

from sluice.runtime import service
from sluice.services.status_writer.app import SERVICE, main
from sluice.services.status_writer.settings import StatusWriterSettings

service.run(SERVICE, StatusWriterSettings, main)
