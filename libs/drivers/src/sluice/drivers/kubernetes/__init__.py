"""The Kubernetes API server: the only code that talks to it.

kubernetes-asyncio reads the configuration, authenticates and connects (`access`); requests and responses are raw bytes
(`client`), since its typed lists take ten times as long. `mirror` lists all objects of a kind and follows their
changes; `paging` and `watching` are its two halves. `lease` elects one of several replicas.
"""
