"""The outcome of transfers, and what a remote holds, as plain data."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dm_compose.core.names import CommitId, RefName
from dm_compose.core.upkeep import Damage
from dm_compose.remotes.names import Digest, RemoteName


class Relation(enum.Enum):
    """The relation of the local branch to the commits of the remote, seen from here."""

    NEW = "new"  # there is no local branch, or it has no commit
    SAME = "same"
    AHEAD = "ahead"  # the local branch has commits that the remote does not have
    BEHIND = "behind"  # the remote has commits that the local branch does not have: a pull is a fast-forward
    DIVERGED = "diverged"  # both have commits that the other does not have


@dataclass(frozen=True)
class Pushed:
    """The outcome of a push.

    `branch` is the branch on the remote that got the commits. When they were `stashed`, it is not the one that was asked for.
    `before` is the commit that the branch named before, None if there was no branch. `sent_bytes` counts the uploaded bytes;
    `reused_bytes` counts those that the new commits need and the remote had. `warnings` are sentences for the user.
    """

    name: RemoteName
    branch: RefName
    head: CommitId
    before: CommitId | None
    commits: tuple[CommitId, ...] = ()
    sent_blobs: int = 0
    sent_bytes: int = 0
    reused_bytes: int = 0
    stashed: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fetched:
    """The outcome of a fetch. The commit `head` and all its ancestors are in the store, and no ref has been moved.

    `commits` are the new ones, oldest first. `relation` compares with the local head that the caller gave. `common` is the newest
    commit that both have, None when there is none. `branch` is None when the caller asked for a commit.
    """

    name: RemoteName
    branch: RefName | None
    head: CommitId
    relation: Relation
    commits: tuple[CommitId, ...] = ()
    common: CommitId | None = None
    received_bytes: int = 0
    reused_bytes: int = 0


@dataclass(frozen=True)
class RemoteBranch:
    """A branch on a remote. `size_bytes` is the size of all blobs that its newest commit needs."""

    name: RefName
    head: CommitId
    manifest: Digest
    created: datetime
    size_bytes: int


@dataclass(frozen=True)
class RemoteDot:
    """A dot on a remote. `commits` counts them. `size_bytes` is None where the kind of remote cannot list blobs."""

    name: RemoteName
    branches: tuple[RemoteBranch, ...]
    commits: int
    size_bytes: int | None


@dataclass(frozen=True)
class RemoteGarbage:
    """Garbage of a dot on a remote: commits that no branch leads to, with the reason; number and size of blobs that can go."""

    commits: Mapping[CommitId, str] = field(default_factory=dict)
    blobs: int = 0
    size_bytes: int = 0


@dataclass(frozen=True)
class RemoteCheckup:
    """The outcome of reading every blob that a tag needs."""

    commits: int
    blobs: int
    size_bytes: int
    damage: tuple[Damage, ...] = ()
