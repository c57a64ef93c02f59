"""`python -m sluice.services.cni`."""

from sluice.services.cni.app import run

run()
