"""Queries to DNS servers."""

from sluice.drivers.dns.client import NoAnswer, ask, nameservers

__all__ = ["NoAnswer", "ask", "nameservers"]
