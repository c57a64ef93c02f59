"""Answers questions about the present and the past, and keeps the checkpoints of the ledger."""
