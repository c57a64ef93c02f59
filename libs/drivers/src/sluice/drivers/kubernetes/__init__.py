"""The Kubernetes API server: the only code that speaks to it.

kubernetes-asyncio reads the configuration, authenticates and makes the connection (`access`); what is asked over it is
raw bytes (`client`), since its typed lists take ten times as long. `mirror` reads all objects of a kind and whatever
becomes of them, `paging` and `watching` are its two halves; `lease` is how one of several replicas is chosen.
"""
