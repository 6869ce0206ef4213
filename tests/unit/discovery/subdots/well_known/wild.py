"""A stack as it is found in the wild: everything that is state, and everything that is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dm_compose.core.containers import Image


@dataclass(frozen=True)
class Wild:
    text: str
    subdots: set[str]
    skipped: set[str]
    images: Mapping[str, Image] = field(default_factory=dict)
