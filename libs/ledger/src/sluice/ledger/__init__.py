"""The past of the objects, as LEDGER tells it."""
