"""Examples of answers, as shown in OpenAPI: by the name of the answer's type, and valid for that type."""

from typing import Any

_REVISION = "1793459220000000.42"
_META = {"revision": _REVISION}
_TIME = "2026-11-27T15:36:42.944Z"
_POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "db", "namespace": "shop", "uid": "9c1f"},
    "spec": {"podSelector": {"matchLabels": {"app": "db"}}, "policyTypes": ["Ingress"]},
}
_STORED = {
    "kind": "k8snetworkpolicies",
    "namespace": "shop",
    "name": "db",
    "revision": _REVISION,
    "time": _TIME,
    "object": _POLICY,
}
_ORIGIN = {"kind": "k8snetworkpolicies", "namespace": "shop", "name": "db", "uid": "9c1f"}
_PROGRAM = {
    "unit": "k8snetworkpolicies:shop:db",
    "applied_to": "2f75d44b89292fab",
    "cause": [1793459220000000, 42],
    "origin": _ORIGIN,
    "tier": 251,
    "priority": 0.0,
    "isolates": ["ingress"],
}
_STATUS = {
    "node": "node-1",
    "backend": "ovs",
    "applied": [1793459220000000, 42],
    "healthy": True,
    "ports": ["shop/db", "shop/web"],
}
_MEMBER = {"pod": "shop/db", "uid": "77aa", "addresses": ["10.10.1.7"]}
_SELECTOR = {"terms": [{"namespace": "shop", "pod_selector": [{"key": "app", "operator": "In", "values": ["db"]}]}]}
_GROUP = {"group": "2f75d44b89292fab", "selector": _SELECTOR, "applied": ["k8snetworkpolicies:shop:db"]}
_RULE = {
    "type": "rule",
    "origin": {**_ORIGIN, "kind": "acnps", "namespace": "", "name": "from-web"},
    "direction": "ingress",
    "index": 0,
    "action": "allow",
    "tier": 250,
    "priority": 5.0,
}
_PACKET = {
    "source": {"type": "pod", "namespace": "shop", "name": "web"},
    "destination": {"type": "pod", "namespace": "shop", "name": "db"},
    "protocol": "TCP",
    "port": 5432,
}

_ACTION = {
    "id": "5f0c2a",
    "at_ns": 1795793802944000000,
    "state": "done",
    "verb": "put",
    "kind": "k8snetworkpolicies",
    "namespace": "shop",
    "name": "db",
    "who": "deployer",
    "by": "token",
    "address": "10.0.0.7",
    "reason": "CHG-17",
    "before": [1793459220000000, 40],
    "after": [1793459220000000, 42],
}

EXAMPLES: dict[str, Any] = {
    "ActionList": {"items": [{"time": _TIME, "action": _ACTION}]},
    "ObjectList": {"metadata": {**_META, "more": "b2JqZWN0cy5wb2Rz"}, "items": [_STORED]},
    "Stored": _STORED,
    "History": {
        "items": [
            {"revision": "1793459220000000.40", "time": _TIME, "object": _POLICY},
            {"revision": _REVISION, "time": _TIME},
        ]
    },
    "GroupList": {"metadata": _META, "items": [_GROUP]},
    "GroupDetail": {"group": _GROUP, "nodes": [{"node": "node-1", "members": [_MEMBER]}]},
    "NodeList": {"metadata": _META, "items": [_STATUS]},
    "HeldList": {
        "metadata": _META,
        "items": [
            {
                "subject": "programs.ovs.2f75d44b89292fab.k8snetworkpolicies:shop:db",
                "revision": _REVISION,
                "program": _PROGRAM,
            }
        ],
    },
    "Endpoint": {
        "namespace": "shop",
        "name": "db",
        "node": "node-1",
        "addresses": ["10.10.1.7"],
        "groups": ["2f75d44b89292fab"],
        "applied": [_ORIGIN],
        "isolated_by": [_ORIGIN],
        "peer_of": [_RULE],
    },
    "PolicyDetail": {
        "policy": {
            "kind": "NetworkPolicy",
            "namespace": "shop",
            "name": "db",
            "applied_to": ["2f75d44b89292fab"],
            "rules": 0,
            "phase": "Realized",
            "nodes": "2/2",
        },
        "programs": [_PROGRAM],
        "counts": [
            {"unit": "k8snetworkpolicies:shop:db", "direction": "ingress", "sessions": 3, "packets": 3, "bytes": 222}
        ],
    },
    "Answer": {
        "metadata": _META,
        "packet": _PACKET,
        "verdict": {
            "outcome": "Dropped",
            "egress": {"action": "allow", "reason": {"type": "no-policy"}},
            "ingress": {"action": "drop", "reason": {"type": "isolation", "policies": [_ORIGIN]}},
        },
    },
    "SeenList": {
        "items": [
            {
                "time": _TIME,
                "node": "node-1",
                "kind": "np",
                "verdict": "Drop",
                "unit": "k8snetworkpolicies:shop:db",
                "source_pod": "shop/web",
                "destination_pod": "shop/db",
                "event": {
                    "type": "np",
                    "at_us": 1795793802944000,
                    "table": "IngressDefaultRule",
                    "policy": "K8sNetworkPolicy",
                    "direction": "Ingress",
                    "action": "Drop",
                    "source": "10.10.1.6",
                    "destination": "10.10.1.7",
                    "destination_port": 5432,
                    "protocol": "TCP",
                    "length": 60,
                },
            }
        ]
    },
    "LedgerState": {
        "epoch": 1793459220000000,
        "first": 1,
        "last": 10042,
        "checkpoints": [{"first": 1, "last": 10000, "time": _TIME, "head": "5d41402abc4b2a76", "objects": 3120}],
    },
    "Verification": {"checked": 10042, "uncovered": 42, "head": "5d41402abc4b2a76", "faults": []},
}
