"""What ingest reads from its environment: SLUICE_INGEST_FOLDER and so on."""

from typing import Annotated

from msgspec import Meta

from sluice.runtime.settings import ServiceSettings


class IngestSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One field, one SLUICE_INGEST_* variable."""

    folder: str
    """The manifests: every .yaml, .yml and .json file in it, at any depth."""

    poll_interval_ms: Annotated[int, Meta(ge=10, le=60_000)] = 50
    """Between two looks at the folder. A change is taken in after it was seen twice; a large folder is looked at less
    often, so that looking takes at most a twentieth of the time."""

    grace_ms: Annotated[int, Meta(ge=0, le=60_000)] = 1_000
    """How long a file must be left alone that lost objects, or that ends without a newline: it may be half written."""
