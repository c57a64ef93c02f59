"""State that outlives the process: a file that is replaced atomically."""

from pathlib import Path
from typing import Generic, TypeVar

import structlog

from sluice.contracts import codec

log = structlog.get_logger()

T = TypeVar("T")


class StateFile(Generic[T]):
    def __init__(self, path: Path, kind: type[T]) -> None:
        self._path, self._kind = path, kind
        self._saved = b""

    def load(self) -> T | None:
        """Return the saved value, if any. An undecodable file is set aside and logged."""
        try:
            self._saved = self._path.read_bytes()
            return codec.decode(self._saved, self._kind)
        except FileNotFoundError:
            return None
        except codec.Undecodable as error:
            self.refuse(str(error))
            return None

    def refuse(self, why: str) -> None:
        """Set aside a file whose content makes no sense, and log it."""
        aside = self._path.with_suffix(".bad")
        self._path.replace(aside)
        log.error("state_refused", file=str(self._path), error=why, set_aside=str(aside))

    def save(self, value: T) -> None:
        """Save the value, unless it is what the file holds already."""
        body = codec.encode(value)
        if body != self._saved:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_suffix(".new")
            new.write_bytes(body)
            new.replace(self._path)
        self._saved = body
