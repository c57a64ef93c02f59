"""Settings of ingest, from the environment: SLUICE_INGEST_FOLDER and so on."""

import platform
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, field

from sluice.runtime.settings import ServiceSettings

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class IngestSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field per SLUICE_INGEST_* variable."""

    source: Literal["folder", "kubernetes"] = "folder"
    """Where objects come from; a deployment has exactly one source."""

    writable: bool = False
    """Allow changes to objects through the API (scope `write`): ingest then writes to the folder, or to Kubernetes with
    its own credentials."""

    # ------------------------------------------------------------------------------------------------------- folder

    folder: str = ""
    """The folder of manifests: every .yaml, .yml and .json file in it, at any depth. Required for the folder source."""

    poll_interval_ms: Annotated[int, Meta(ge=10, le=60_000)] = 50
    """Interval between looks at the folder. A change is taken in after it was seen twice. A large folder is checked
    less often, so that checking takes at most a twentieth of the time."""

    grace_ms: Annotated[int, Meta(ge=0, le=60_000)] = 1_000
    """How long a file must be unchanged if it lost objects or ends without a newline: it may be half-written."""

    # --------------------------------------------------------------------------------------------------- kubernetes

    kubeconfig: str = ""
    """Path of a kubeconfig. Unset: the Pod's service account, or else the kubeconfig that kubectl would use."""

    context: str = ""
    """Context in the kubeconfig. Unset: its current context."""

    master: str = ""
    """Address of the API server, overriding the configured one."""

    lease_namespace: str = ""
    """Namespace of the leader election Lease. Unset: the Pod's own Namespace, or `default`."""

    lease_name: str = "sluice-ingest"

    lease_duration_s: Annotated[float, Meta(ge=1)] = 15.0
    """Time until a replica that died without releasing the Lease is replaced."""

    holder: str = field(default_factory=platform.node)
    """This replica's identity in the Lease, unique among replicas: a Pod's name."""

    retry_s: Annotated[float, Meta(gt=0)] = 10.0
    """Maximum interval between retries when the API server does not answer."""

    absent_s: Annotated[float, Meta(gt=0)] = 5.0
    """Interval between checks for a kind that is not installed."""

    silence_s: Annotated[float, Meta(gt=0)] = 120.0
    """A watch that is silent for this long is considered dead. API servers send a bookmark every minute."""

    def __post_init__(self) -> None:
        """Raise ValueError if a required setting is missing."""
        if self.source == "folder" and not self.folder:
            raise ValueError(
                "the source is a folder, but which is not set; set SLUICE_INGEST_FOLDER, or "
                "SLUICE_INGEST_SOURCE=kubernetes"
            )

    def namespace(self) -> str:
        """The Namespace of the Lease."""
        if self.lease_namespace:
            return self.lease_namespace
        return _POD_NAMESPACE.read_text().strip() if _POD_NAMESPACE.is_file() else "default"
