"""The flow bits of rule sets.

They belong to a connection and to the rules that set them. After a reload, the engine forgets all bits of a connection
at its next packet, and inspects what is in progress again (measured, Suricata 7.0.10). So no signature may treat an
unset bit as a denial unless another signature sets it again from what the engine still knows.
"""

OPENING = "l7open"
"""So far the client has sent part of an opening, but not a complete one."""

ALLOWED = "l7ok"
"""The current HTTP request matches an entry."""

NAMED = "l7sni"
"""The server name of the connection's ClientHello matches an entry."""
