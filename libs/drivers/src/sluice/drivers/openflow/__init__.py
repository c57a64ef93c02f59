"""OpenFlow 1.5 with Open vSwitch's extensions, by our own codec over asyncio.

`switch` is the interface for others. `bundle`, `oxm`, `actions` and `flow_mod` encode flows, `stats` decodes them into
the same values; `packets`, `meters` and `groups` are the rest. `connection` transports messages without knowing their
contents.
"""
