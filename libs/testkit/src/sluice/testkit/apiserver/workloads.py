"""Objects of realistic size: three quarters of a Pod's bytes are irrelevant to us."""

from collections.abc import Mapping

from sluice.testkit.apiserver.resources import Json


def pod(
    namespace: str, name: str, *, node: str = "node-1", ip: str = "", labels: Mapping[str, str] | None = None
) -> Json:
    """About 3 kB, as a 1.32 server stores the Pod of a Deployment."""
    conditions = [
        {"type": one, "status": "True", "lastProbeTime": None, "lastTransitionTime": "2026-01-01T00:00:00Z"}
        for one in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app": "web", "pod-template-hash": "7d9c8b6f5d", **(labels or {})},
            "annotations": {"kubernetes.io/psp": "restricted", "note": "x" * 300},
            "ownerReferences": [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d9c8b6f5d", "uid": "u" * 36}
            ],
            "managedFields": [
                {
                    "manager": "kubelet",
                    "operation": "Update",
                    "apiVersion": "v1",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {"f:status": {f"f:field{number}": {".": {}} for number in range(30)}},
                }
            ],
        },
        "spec": {
            "nodeName": node,
            "serviceAccountName": "default",
            "volumes": [{"name": "kube-api-access", "projected": {"defaultMode": 420, "sources": [{}, {}, {}]}}],
            "containers": [
                {
                    "name": "web",
                    "image": "registry.example/web:1.2.3",
                    "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                    "env": [{"name": f"SETTING_{number}", "value": "x" * 20} for number in range(10)],
                    "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m"}},
                }
            ],
        },
        "status": {
            "phase": "Running" if ip else "Pending",
            "conditions": conditions,
            "hostIP": "192.0.2.1",
            **({"podIP": ip, "podIPs": [{"ip": ip}]} if ip else {}),
            "qosClass": "Burstable",
        },
    }
