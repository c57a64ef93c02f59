"""A double of the Kubernetes API server: a real server on a socket, for tests of whoever speaks to one.

It has what clients of a mirror stumble over, as measured on servers of versions 1.20 and 1.36: one sequence of versions
for everything, lists in pages, a history that ends (410 as a line of a stream that began with 200), bookmarks,
streaming lists, conflicts, subresources, throttling. It has no controllers, no admission and no schemas. `server` is
what others use; `resources` says what is served, `store` holds it, `watching` and `table` are two of its views,
`faults` what goes wrong on demand.
"""
