"""Settings of a programmer that writes an audit log on its node, like Antrea's np.log."""

from pathlib import Path
from typing import Annotated

from msgspec import Meta

from sluice.runtime.logfile import Limits
from sluice.runtime.settings import ServiceSettings


class AuditSettings(ServiceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    root: str = "/"
    """Folder that contains var/log/antrea/networkpolicy, the folder of the log."""

    audit_size_mb: Annotated[int, Meta(ge=1)] = 500
    """Size in megabytes (1e6 bytes) at which the log is rotated."""

    audit_backups: Annotated[int, Meta(ge=0)] = 3
    """How many rotated files are kept."""

    audit_age_days: Annotated[float, Meta(ge=0)] = 28.0
    """Days after which rotated files are removed; 0: never."""

    audit_compress: bool = True
    """Compress all rotated files except the newest."""

    @property
    def audit_folder(self) -> Path:
        return Path(self.root, "var/log/antrea/networkpolicy")

    @property
    def audit_limits(self) -> Limits:
        return Limits(
            size_bytes=self.audit_size_mb * 1_000_000,
            backups=self.audit_backups,
            age_s=self.audit_age_days * 86_400,
            compress=self.audit_compress,
        )
