"""Questions to servers of DNS."""

from sluice.drivers.dns.client import NoAnswer, ask, nameservers

__all__ = ["NoAnswer", "ask", "nameservers"]
