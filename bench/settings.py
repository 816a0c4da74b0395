"""How a run is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """Where the C programs go, and how patient the user is."""

    folder: Path
    quick: bool

    def rounds(self, *, fine: bool = False) -> int:
        """How many rounds to make; `fine` ones are short, or must tell small differences."""
        return (7 if self.quick else 21) if fine else (3 if self.quick else 7)
