"""`python -m sluice.services.query_api`."""

from sluice.runtime import service
from sluice.services.query_api.app import SERVICE, main
from sluice.services.query_api.settings import QueryApiSettings

service.run(SERVICE, QueryApiSettings, main)
