"""What `gc` and `fsck` say about a store, as data."""

from __future__ import annotations

from dataclasses import dataclass, field

from dm_compose.core.names import CommitId


@dataclass(frozen=True)
class Garbage:
    """What nothing names any more: commits, objects and manifests, and leftovers of killed commands.

    `size_bytes` is what the objects take on the disk; what they share with live files as clones is counted too.
    """

    commits: tuple[CommitId, ...] = ()
    objects: int = 0
    leftovers: int = 0
    size_bytes: int = 0

    def __bool__(self) -> bool:
        return bool(self.commits or self.objects or self.leftovers)


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it was written. `commits` are those that cannot be restored while it is not `repaired`.

    `what` is a sentence without the name of the thing, which is `where`.
    """

    where: str
    what: str
    commits: tuple[CommitId, ...] = ()
    repaired: bool = False


@dataclass(frozen=True)
class Checkup:
    """The outcome of looking at everything in a store.

    `first_seen` objects had no digest yet and got one: what happened to them before cannot be told but by their size.
    """

    commits: int
    objects: int
    size_bytes: int
    first_seen: int
    damage: tuple[Damage, ...] = field(default=())

    @property
    def sound(self) -> bool:
        """Whether everything is, or has been made, as it was written."""
        return all(d.repaired for d in self.damage)


@dataclass(frozen=True)
class FileSystemProbe:
    """What a store's file system can do, tried on a scratch file of `size_bytes`: whether it clones files (reflink), and what a
    copy of that file cost. `shared` are the directories that are on the same file system.
    """

    reflink: bool
    size_bytes: int
    copy_s: float
    shared: tuple[str, ...]
