"""The files that this service writes: each is replaced atomically."""

from pathlib import Path

from sluice.contracts import codec
from sluice.dataplane.l7.engine import Engine, tenant_text
from sluice.dataplane.l7.ruleset import RuleSet
from sluice.dataplane.l7.tenants import NOTHING_KEPT, Kept


def replace(path: Path, body: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.write_bytes(body.encode() if isinstance(body, str) else body)
    new.replace(path)


def load_kept(path: Path) -> tuple[Kept, str]:
    """Return the saved state, and the error if it is unreadable: VLANs then start afresh, cutting old connections."""
    try:
        return codec.decode(path.read_bytes(), Kept), ""
    except FileNotFoundError:
        return NOTHING_KEPT, ""
    except codec.Undecodable as error:
        return NOTHING_KEPT, str(error)


class TenantFiles:
    """The files of an engine's tenants. Unchanged ones are not written again: 1,000 tenants would take a second."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._written: dict[int, str] = {}
        """Digests by VLAN."""

    def write(self, vlan: int, rules: RuleSet) -> None:
        """Write the tenant's files with these rules."""
        if self._written.get(vlan) != rules.digest:
            self._written.pop(vlan, None)
            replace(Path(self._engine.rules(vlan)), rules.text)
            replace(Path(self._engine.tenant(vlan)), tenant_text(self._engine, vlan))
            self._written[vlan] = rules.digest

    def forget(self) -> None:
        """Have all written again: the engine had other rules than expected, so somebody may have changed the files."""
        self._written.clear()
