"""Is what people wrote in force, and where? From the facts on the bus to what `kubectl get` and `sluice get` say.

`fold` takes the facts in and answers for one policy, `report` says it as the status of a Kubernetes object. Whoever
reads the bus computes the same: the status writer of a Kubernetes, and the command line without one.
"""
