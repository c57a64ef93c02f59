"""OpenFlow 1.5 with Open vSwitch's extensions, by our own codec over asyncio.

`switch` is what others use. `flow_mod`, `oxm`, `actions` and `bundle` write flows, `stats` reads them back as the same
values, `packets`, `meters` and `groups` are the rest; `connection` moves messages and knows nothing of what is in them.
"""
