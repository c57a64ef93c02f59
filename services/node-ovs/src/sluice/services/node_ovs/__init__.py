"""Programs the Open vSwitch bridge of one node to match the programs on the bus."""
