"""Brings objects from their source into the LEDGER stream, and is its only writer."""
