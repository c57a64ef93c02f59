"""`python -m sluice.services.node_ovs`."""

from sluice.runtime import service
from sluice.services.node_ovs.app import SERVICE, main
from sluice.services.node_ovs.away import before_bus
from sluice.services.node_ovs.settings import NodeOvsSettings

service.run(SERVICE, NodeOvsSettings, main, without_bus=before_bus)
