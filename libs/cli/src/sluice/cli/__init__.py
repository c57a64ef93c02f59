"""The command line: `sluice`."""
