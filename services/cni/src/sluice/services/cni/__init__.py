"""Connects the Pods of one node to its switch.

The container runtime starts `plugin`, a few lines that need nothing but Python; it hands each request to the daemon,
which is everything else: `protocol` (requests and responses), `addresses` (IPAM), `attaching` (the steps), `bridge`
(what a node needs before its first Pod), `server` (the socket), `install` (the plugin's files on the host).
"""
