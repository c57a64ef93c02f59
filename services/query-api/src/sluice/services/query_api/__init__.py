"""Answers what is and what was, and keeps the checkpoints of the ledger."""
