"""Open vSwitch: the pipeline as data, lowering, planning."""
