"""Whether policies are in force, and where: from the facts on the bus to what `kubectl get` and `sluice get` show.

`fold` takes the facts and answers for one policy; `report` turns the answer into the status of a Kubernetes object. The
status writer and the command line both use it, so they agree.
"""
