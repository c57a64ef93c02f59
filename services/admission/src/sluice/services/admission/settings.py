"""Settings of admission, from the environment: SLUICE_ADMISSION_*."""

from typing import Annotated

from msgspec import Meta

from sluice.runtime.settings import ServiceSettings


class AdmissionSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field per SLUICE_ADMISSION_* variable."""

    host: str = "127.0.0.1"
    """Address that the webhook listens on; `0.0.0.0` in a Pod."""

    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    """TCP port of the webhook. 0 takes any free one and logs it."""

    own_authority: str = ""
    """The Secret, in the Pod's Namespace, in which admission keeps a CA of its own: it creates and rotates the
    certificate, writes it to the two files below, and puts the CA bundle into both webhook configurations. Unset: the
    files and `caBundle` are provided from outside."""

    namespace: str = "sluice-system"
    """The Namespace of the Service `admission` and of that Secret."""

    rotation_interval_s: Annotated[float, Meta(gt=0)] = 300.0
    """Seconds between two checks of that Secret."""

    certificate: str
    """File with the certificate chain, PEM, for the name by which the API server reaches the webhook."""

    key: str
    """File with its private key, PEM. Both files may be replaced at any time."""

    reload_interval_s: Annotated[float, Meta(gt=0)] = 5.0
    """Seconds between two checks of the two files: the maximum delay before a renewed certificate is used."""

    folder: str = ""
    """Folder of manifests that ingest reads, if it does: missing tiers are looked up there. Unset in a cluster, where
    the API server is asked instead."""
