"""Names of dots' volumes, as the ancestor had them: `DOT`, `DOT.SUBDOT`, `DOT@BRANCH`, `DOT@BRANCH.SUBDOT`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from dm_compose.core.names import DEFAULT_SUBDOT, DotName, RefName, SubdotName

DRIVER = "dm"


@dataclass(frozen=True)
class VolumeName:
    """A volume of a dot. Without a `branch` it follows the dot's current one, with it is pinned to that."""

    dot: DotName
    branch: RefName | None = None
    subdot: SubdotName = DEFAULT_SUBDOT

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a name; UsageError says which part of it is none. Branches with a '.' cannot be pinned."""
        head, period, subdot = text.partition(".")
        dot, at, branch = head.partition("@")
        return cls(
            DotName.parse(dot),
            RefName.parse(branch) if at else None,
            SubdotName.parse(subdot) if period else DEFAULT_SUBDOT,
        )

    def __str__(self) -> str:
        pinned = f"@{self.branch}" if self.branch is not None else ""
        return f"{self.dot}{pinned}" + ("" if self.subdot == DEFAULT_SUBDOT else f".{self.subdot}")
