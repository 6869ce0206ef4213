"""Reports of `gc`, `fsck` and `doctor` about a store, as data."""

from __future__ import annotations

from dataclasses import dataclass, field

from dm_compose.core.names import CommitId


@dataclass(frozen=True)
class Garbage:
    """Commits, objects and manifests that nothing names any more, and leftovers of killed commands.

    `objects` and `leftovers` are numbers. `size_bytes` on the disk come free: files of objects, and blocks within files of which
    other objects need a part. Blocks that are shared with live files count.
    """

    commits: tuple[CommitId, ...] = ()
    objects: int = 0
    leftovers: int = 0
    size_bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.commits or self.objects or self.leftovers or self.size_bytes)


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
