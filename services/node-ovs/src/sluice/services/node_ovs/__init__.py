"""Makes the Open vSwitch of one node hold what the programs say."""
