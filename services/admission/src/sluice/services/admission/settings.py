"""What admission reads from its environment: SLUICE_ADMISSION_*."""

from typing import Annotated

from msgspec import Meta

from sluice.runtime.settings import ServiceSettings


class AdmissionSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field, one SLUICE_ADMISSION_* variable."""

    host: str = "127.0.0.1"
    """Address that the webhook listens on; `0.0.0.0` in a Pod."""

    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    """TCP port of the webhook. 0 takes any free one and logs it."""

    own_authority: str = ""
    """The Secret, in the Pod's Namespace, in which admission keeps an authority of its own: it makes and rotates the
    certificate, writes it to the two files below, and tells both webhook configurations whom to believe. Unset: the
    files come from somebody else, and so does `caBundle`."""

    namespace: str = "sluice-system"
    """Where the Service `admission` and that Secret are."""

    rotation_interval_s: Annotated[float, Meta(gt=0)] = 300.0
    """Seconds between two looks at that Secret."""

    certificate: str
    """File with the certificate chain, PEM, for the name under which the API server finds the webhook."""

    key: str
    """File with its private key, PEM. Both files may be replaced at any time."""

    reload_interval_s: Annotated[float, Meta(gt=0)] = 5.0
    """Seconds between two looks at the two files. A renewed certificate serves after at most this."""

    folder: str = ""
    """Folder of manifests that ingest reads, where there is one: a tier that is missed is looked up there. Unset in a
    cluster, whose API server is asked."""
