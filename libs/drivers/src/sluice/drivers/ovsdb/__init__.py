"""The configuration database of Open vSwitch: its bridges, ports and interfaces, and the Pods that the ports belong to.

`client` asks and changes, `monitor` tells what is and what becomes, `pods` is what a port says about its Pod.
"""
