"""Suricata: its command socket, its rule checker, and its tenants."""
