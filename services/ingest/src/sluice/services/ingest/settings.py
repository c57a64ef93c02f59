"""What ingest reads from its environment: SLUICE_INGEST_FOLDER and so on."""

import platform
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, field

from sluice.runtime.settings import ServiceSettings

_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class IngestSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field, one SLUICE_INGEST_* variable."""

    source: Literal["folder", "kubernetes"] = "folder"
    """Where objects come from: the one source of a deployment."""

    writable: bool = False
    """Objects may be changed through the API (its scope `write`): ingest then writes into the folder, or to
    Kubernetes with its own credentials."""

    # ------------------------------------------------------------------------------------------------------- folder

    folder: str = ""
    """The manifests: every .yaml, .yml and .json file in it, at any depth. Needed for the source folder."""

    poll_interval_ms: Annotated[int, Meta(ge=10, le=60_000)] = 50
    """Between two looks at the folder. A change is taken in after it was seen twice; a large folder is looked at less
    often, so that looking takes at most a twentieth of the time."""

    grace_ms: Annotated[int, Meta(ge=0, le=60_000)] = 1_000
    """How long a file must be left alone that lost objects, or that ends without a newline: it may be half written."""

    # --------------------------------------------------------------------------------------------------- kubernetes

    kubeconfig: str = ""
    """Path of a kubeconfig. Unset: what a Pod is given, or else the one that kubectl would read."""

    context: str = ""
    """Of the kubeconfig; unset takes its current one."""

    master: str = ""
    """Address of the API server, in place of the configured one."""

    lease_namespace: str = ""
    """Where the Lease is that chooses one of several replicas. Unset: the Pod's own Namespace, or `default`."""

    lease_name: str = "sluice-ingest"

    lease_duration_s: Annotated[float, Meta(ge=1)] = 15.0
    """A replica that ended without a word is succeeded after this."""

    holder: str = field(default_factory=platform.node)
    """Who this is in the Lease: no other replica's name. A Pod's name."""

    retry_s: Annotated[float, Meta(gt=0)] = 10.0
    """Between two tries of what the API server does not answer, at most."""

    absent_s: Annotated[float, Meta(gt=0)] = 5.0
    """Between two looks for a kind that is not installed."""

    silence_s: Annotated[float, Meta(gt=0)] = 120.0
    """A watch that says nothing for so long is dead. Servers say where they stand each minute."""

    def __post_init__(self) -> None:
        """Raise ValueError if something is missing."""
        if self.source == "folder" and not self.folder:
            raise ValueError(
                "the source is a folder: say which by SLUICE_INGEST_FOLDER, or SLUICE_INGEST_SOURCE=kubernetes"
            )

    def namespace(self) -> str:
        """Of the Lease."""
        if self.lease_namespace:
            return self.lease_namespace
        return _POD_NAMESPACE.read_text().strip() if _POD_NAMESPACE.is_file() else "default"
