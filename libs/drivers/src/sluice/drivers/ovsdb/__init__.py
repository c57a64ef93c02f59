"""Open vSwitch's configuration database: bridges, ports and interfaces, and which Pods the ports belong to.

`client` queries and changes it, `monitor` follows its contents, `pods` reads what a port's external_ids say about its
Pod.
"""
