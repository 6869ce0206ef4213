"""The upkeep of a store as data: reports of `gc`, `fsck` and `doctor`, what holds its space, and the budget of `undo`."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dm_compose.core.names import CommitId
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
        """Return the instant from which on entries are kept. An instant before the calendar begins is its first day."""
        try:
            return now - timedelta(days=self.days)
        except OverflowError:
            return datetime.min.replace(tzinfo=now.tzinfo)


@dataclass(frozen=True)
class Garbage:
    """Commits, objects and manifests that nothing names any more, and leftovers of killed commands.

    `objects` and `leftovers` are numbers. `size_bytes` on the disk come free: files of objects, and blocks within files of which
    other objects need a part. Blocks that are shared with live files count. `entries` of the reflog are forgotten for it.
    """

    commits: tuple[CommitId, ...] = ()
    objects: int = 0
    leftovers: int = 0
    size_bytes: int = 0
    entries: int = 0

    def __bool__(self) -> bool:
        return bool(self.commits or self.objects or self.leftovers or self.size_bytes)


@dataclass(frozen=True)
class Space:
    """The bytes on the disk that a store takes, and the size of that disk with what is free.

    The live files of the store's trees do not count.
    """

    size_bytes: int
    disk_bytes: int
    free_bytes: int

    @property
    def is_short(self) -> bool:
        """Whether less than a tenth of the file system is free."""
        return self.free_bytes * 10 < self.disk_bytes


class Holder(enum.StrEnum):
    """The kinds of things that hold space in a store. A block counts for the first of them that needs it."""

    BRANCHES = "branches"
    TAGS = "tags"
    SEEDS = "seeds"
    FAILED = "failed tests"
    UNCOMMITTED = "uncommitted states of branches"
    RUNNING = "test runs, clones and operations under way"
    SETTLED = "settled forms"
    UNDO = "undo"
    RECORDS = "database and indexes"
    NOBODY = "nothing: it would be freed"


@dataclass(frozen=True)
class Held:
    """The bytes on the disk that a holder needs and none before it does, and the number of commits that it leads to first."""

    holder: Holder
    commits: int
    size_bytes: int


@dataclass(frozen=True)
class EntryHeld:
    """The bytes on the disk that come free with a reflog entry when all older ones are gone."""

    number: int
    size_bytes: int


@dataclass(frozen=True)
class Holdings:
    """All bytes that a store takes, each counted once: those of each holder, in order, and for `undo` those of each entry."""

    held: tuple[Held, ...]
    entries: tuple[EntryHeld, ...]

    @property
    def size_bytes(self) -> int:
        """The bytes that the store takes, as in Space."""
        return sum(held.size_bytes for held in self.held)


@dataclass(frozen=True)
class Damage:
    """One damaged file of the store.

    `where` names the file, and `what` is the rest of a sentence about it. `commits` cannot be restored until it is `repaired`.
    """

    where: str
    what: str
    commits: tuple[CommitId, ...] = ()
    repaired: bool = False


@dataclass(frozen=True)
class Checkup:
    """The outcome of reading everything in a store.

    `first_seen` objects had no digest yet and got one. Earlier damage of these shows only if it changed their size.
    """

    commits: int
    objects: int
    size_bytes: int
    first_seen: int
    damage: tuple[Damage, ...] = field(default=())

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged any more."""
        return all(d.repaired for d in self.damage)


@dataclass(frozen=True)
class FileSystemProbe:
    """The outcome of copying a scratch file of `size_bytes` within the store.

    `reflink` says whether the copy shares the blocks of the original, and `copy_s` is the time that it took. `shared` lists
    the directories that are on the store's file system.
    """

    reflink: bool
    size_bytes: int
    copy_s: float
    shared: tuple[str, ...]
