"""The budget of `undo`: how long, and in how many bytes, a store keeps states that only the reflog names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from dm_compose.errors import UsageError

UNDO_DAYS, UNDO_SIZE = "undo-days", "undo-size"
DEFAULTS: Mapping[str, str] = {UNDO_DAYS: "30", UNDO_SIZE: "10%"}
"""The settings of a store that a user may change, with what counts where they are not set."""

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt]?)(?:i?b)?", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class UndoBudget:
    """`days` of the reflog, and the most bytes that its older entries may hold: `size_bytes`, or `percent` of the disk."""

    days: int
    size_bytes: int | None = None
    percent: float | None = None

    @classmethod
    def of(cls, settings: Mapping[str, str]) -> UndoBudget:
        """Return the budget that the settings of a store make. UsageError for a value that means nothing."""
        found = {name: settings.get(name, default) for name, default in DEFAULTS.items()}
        days, text = found[UNDO_DAYS].strip(), found[UNDO_SIZE].strip()
        if not days.isascii() or not days.isdigit():
            raise UsageError(f"{UNDO_DAYS}: {days!r} is not a number of days", hint="For example: 30.")
        if text.endswith("%"):
            with_percent = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]+)?) ?%", text)
            if with_percent is not None and float(with_percent[1]) <= 100:
                return cls(int(days), percent=float(with_percent[1]))
        elif (size := _SIZE.fullmatch(text)) is not None:
            return cls(int(days), size_bytes=int(float(size[1]) * _UNITS[size[2].lower()]))
        raise UsageError(f"{UNDO_SIZE}: {text!r} is not a size", hint="For example: 20GiB, or 10% of the disk.")

    def bytes_of(self, disk_bytes: int) -> int:
        """Return the most bytes on a disk of that size."""
        return self.size_bytes if self.size_bytes is not None else int(disk_bytes * (self.percent or 0) / 100)

    def since(self, now: datetime) -> datetime:
        """Return the instant from which on entries are kept. Whatever a calendar cannot name is its first day."""
        try:
            return now - timedelta(days=self.days)
        except OverflowError:
            return datetime.min.replace(tzinfo=now.tzinfo)
