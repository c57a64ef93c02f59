"""A fake Kubernetes API server: a real server on a socket, for tests of its clients.

It has the behaviour that mirroring clients stumble over, as measured on servers of versions 1.20 and 1.36: a single
sequence of versions, paged lists, a history that expires (410 as a line of a stream that began with 200), bookmarks,
streaming lists, conflicts, subresources, throttling. It has no controllers, admission or schemas. `server` is the
interface for tests; `resources` describes what is served, `store` holds it, `watching` and `table` are two of its
views, and `faults` injects failures.
"""
