"""`python -m sluice.services.node_ovs`."""

from sluice.runtime import service
from sluice.services.node_ovs.app import SERVICE, main
from sluice.services.node_ovs.settings import NodeOvsSettings

service.run(SERVICE, NodeOvsSettings, main)
