"""What a transfer did, as data."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dm_compose.core.names import CommitId, RefName
from dm_compose.core.upkeep import Damage
from dm_compose.remotes.names import Digest, RemoteName


class Relation(enum.Enum):
    """How what the remote has is related to the local branch, seen from here."""

    NEW = "new"  # there is no local branch, or it has no commit
    SAME = "same"
    AHEAD = "ahead"  # the local branch has commits that the remote does not have
    BEHIND = "behind"  # the remote has commits that the local branch does not have: a pull is a fast-forward
    DIVERGED = "diverged"  # both


@dataclass(frozen=True)
class Pushed:
    """The outcome of a push. `branch` is where the commits went: not the one asked for when they were stashed.

    `sent_bytes` is what was uploaded, `reused_bytes` what the remote had of what the new commits need. `warnings` are
    sentences for the user.
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
    """The outcome of a fetch: `head` and all it stands on is in the store, and no ref has been moved.

    `commits` are the new ones, oldest first. `relation` is to the local head that was given. `common` is the newest commit
    that both have, None when there is none.
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
    """A branch on a remote. `size_bytes` is what a clone of its newest commit reads."""

    name: RefName
    head: CommitId
    manifest: Digest
    created: datetime
    size_bytes: int


@dataclass(frozen=True)
class RemoteDot:
    """A dot on a remote. `size_bytes` is None where the kind cannot list what it holds."""

    name: RemoteName
    branches: tuple[RemoteBranch, ...]
    commits: int
    size_bytes: int | None


@dataclass(frozen=True)
class RemoteGarbage:
    """Blobs that no tag needs, and commits that no branch stands on, with their sizes, and why they can go."""

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
