"""The history of the objects, as recorded in LEDGER."""
