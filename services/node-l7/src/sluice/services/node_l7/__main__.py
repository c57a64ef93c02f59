"""`python -m sluice.services.node_l7`."""

from sluice.runtime import service
from sluice.services.node_l7.app import SERVICE, main
from sluice.services.node_l7.settings import NodeL7Settings

service.run(SERVICE, NodeL7Settings, main)
