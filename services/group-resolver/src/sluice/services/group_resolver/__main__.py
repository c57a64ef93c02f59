"""`python -m sluice.services.group_resolver`."""

from sluice.runtime import service
from sluice.services.group_resolver.app import SERVICE, main
from sluice.services.group_resolver.settings import GroupResolverSettings

service.run(SERVICE, GroupResolverSettings, main)
