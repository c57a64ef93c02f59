"""Brings objects from their source into the LEDGER stream, as its only writer."""
