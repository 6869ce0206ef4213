"""Names of volumes of the volume driver: `DOT`, `DOT.SUBDOT`, `DOT@BRANCH` and `DOT@BRANCH.SUBDOT`, as in Dotmesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from dm_compose.core.names import DEFAULT_SUBDOT, DotName, RefName, SubdotName

DRIVER = "dm"


@dataclass(frozen=True)
class VolumeName:
    """A volume of a dot. It follows the dot's current branch, unless it is pinned to a `branch`."""

    dot: DotName
    branch: RefName | None = None
    subdot: SubdotName = DEFAULT_SUBDOT

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the parts of a volume's name. A branch with a '.' in its name cannot be pinned.

        UsageError, which names the part that is wrong.
        """
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
