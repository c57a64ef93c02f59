"""The program inside every Pod of the lab: it serves the Pod's ports, and it probes others from the Pod's address.

One process for each Pod, forked by one parent (`python -m sluice.lab.prober`) that has imported everything, so that a
Pod costs a fork and not the start of an interpreter. Standard library only, and no asyncio: nothing here waits for
anything but sockets. The parent reads commands, a JSON object a line, from its standard input:

    {"start": "x/a", "netns": PATH, "socket": PATH, "ports": [80]}   ->   {"started": "x/a", "pid": 4711}
                                                                     or   {"failed": "x/a", "reason": "..."}

A server of DNS has `"serves_names": true`, and is told its records by `{"id": 5, "names": {…}}`.

A host beyond the cluster has `"every_sctp_port": true` as well; what it gets on any port of TCP and UDP its firewall
turns to the one that is served.

Each child then listens on its unix socket, where one line asks and one line answers, in any order:

    {"id": 1, "probe": [{"protocol": "TCP", "address": "10.0.0.2", "port": 80}], "tries": 2, "timeout_ms": 250}
    {"id": 2, "open": {"name": "c1", "protocol": "TCP", "address": "10.0.0.2", "port": 80}, ...}
    {"id": 3, "check": {"name": "c1"}, ...}      {"id": 4, "close": "c1"}
    -> {"id": 1, "results": [{"result": "Allowed", "detail": ""}]}

What speaks HTTP or TLS has `"requests": [TEXT]` or `"sni": NAME` as well, and is Allowed when that is answered; each of
its tries takes at least `"least_ms"`.

Results are Allowed, Dropped, Rejected, and Error where no packet says so (nothing listens, no route).
"""
