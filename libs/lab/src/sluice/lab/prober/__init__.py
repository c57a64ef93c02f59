"""The program inside every Pod of the lab: it serves the Pod's ports and probes others from the Pod's address.

One process for each Pod, forked by one parent (`python -m sluice.lab.prober`) that has imported everything, so that a
Pod costs a fork and not the start of an interpreter. It uses the standard library only, and no asyncio, since it waits
only for sockets. The parent reads commands from its standard input, one JSON object per line:

    {"start": "x/a", "netns": PATH, "socket": PATH, "ports": [80]}   ->   {"started": "x/a", "pid": 4711}
                                                                     or   {"failed": "x/a", "reason": "..."}

A DNS server has `"serves_names": true`, and gets its records by `{"id": 5, "names": {…}}`.

A host outside the cluster also has `"every_sctp_port": true`; its firewall redirects all TCP and UDP ports to the one
that is served.

Each child then listens on its Unix socket for requests, one per line; replies are also one per line, in any order:

    {"id": 1, "probe": [{"protocol": "TCP", "address": "10.0.0.2", "port": 80}], "tries": 2, "timeout_ms": 250}
    {"id": 2, "open": {"name": "c1", "protocol": "TCP", "address": "10.0.0.2", "port": 80}, ...}
    {"id": 3, "check": {"name": "c1"}, ...}      {"id": 4, "close": "c1"}
    -> {"id": 1, "results": [{"result": "Allowed", "detail": ""}]}

HTTP and TLS probes also have `"requests": [TEXT]` or `"sni": NAME`, and are Allowed when that is answered; each of
their tries takes at least `"least_ms"`.

Results are Allowed, Dropped, Rejected, and Error if no packet says what happened (nothing listens, no route).
"""
