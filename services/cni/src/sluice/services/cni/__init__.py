"""Plugs the Pods of one node into its switch.

`plugin` is what the container runtime starts, a few lines that need no more than Python; it hands each request to the
daemon, which is everything else: `protocol` (what is asked and answered), `addresses` (who has which), `attaching` (the
steps), `bridge` (what a node has before its first Pod), `server` (the socket), `install` (the plugin's files on the
host).
"""
