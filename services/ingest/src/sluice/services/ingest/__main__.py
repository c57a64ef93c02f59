"""`python -m sluice.services.ingest`."""

from sluice.runtime import service
from sluice.services.ingest.app import SERVICE, main
from sluice.services.ingest.settings import IngestSettings

service.run(SERVICE, IngestSettings, main)
