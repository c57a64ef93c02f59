"""A cluster on one machine, with a real datapath."""
