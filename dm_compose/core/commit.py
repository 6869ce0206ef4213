"""A commit and what hangs on it, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dm_compose.core.names import CommitId, DotName, EntryId, RefName, SubdotName, WorktreeName
from dm_compose.errors import UsageError

COMMIT, RESTORE, SWITCH, SESSION = "commit", "restore", "switch", "session"  # operations of the journal


@dataclass(frozen=True)
class SubdotState:
    """One subdot within a commit: its manifest in the store, and what the data was made by.

    `engine` and `version` are a datastore module's name and the part of its version that data directories depend on,
    None where nobody could read them. `image_digest` is the image's id on the engine that made the commit.
    """

    manifest: str
    files: int
    size_bytes: int
    service: str | None = None
    path: str | None = None
    engine: str | None = None
    version: str | None = None
    image: str | None = None
    image_digest: str | None = None


@dataclass(frozen=True)
class Commit:
    """One instant of all subdots of a dot. Immutable. `new_bytes` is the size of the files that the parent did not have.

    `clean` says that the datastores were shut down for it; otherwise it is what a crash at that instant leaves, and
    engines replay their logs when they start on it. `hidden` marks a state that was saved on the way (for undo), which `log`
    leaves out. `shallow` says that it came from a remote without its ancestors: its parent need not be in the store.
    """

    id: CommitId
    dot: DotName
    parent: CommitId | None
    message: str
    author: str
    created: datetime
    subdots: Mapping[SubdotName, SubdotState]
    metadata: Mapping[str, str] = field(default_factory=dict)
    new_bytes: int = 0
    compose_hash: str | None = None
    architecture: str | None = None
    clean: bool = False
    hidden: bool = False
    shallow: bool = False

    @property
    def size_bytes(self) -> int:
        return sum(s.size_bytes for s in self.subdots.values())


@dataclass(frozen=True)
class CommitDraft:
    """What the maker of a commit says of it; the store adds the trees. Fields as in Commit and SubdotState.

    `branch` is a new branch that the commit becomes the head of, while the worktree stays on its own.
    """

    message: str
    author: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    origins: Mapping[SubdotName, Origin] = field(default_factory=dict)
    compose_hash: str | None = None
    architecture: str | None = None
    clean: bool = False
    hidden: bool = False
    branch: RefName | None = None


@dataclass(frozen=True)
class Origin:
    """What a subdot's data is written by: see SubdotState."""

    service: str | None = None
    path: str | None = None
    engine: str | None = None
    version: str | None = None
    image: str | None = None
    image_digest: str | None = None


@dataclass(frozen=True)
class Worktree:
    """A checkout of a dot: the branch and commit it stands on, and where each subdot's files are.

    `head` is None on a branch without commits. `places` maps a subdot to a volume's name or an absolute directory. A `tree`
    has none: its subdots are directories of the store (Store.tree). `project` is the Compose project whose volumes the places
    are.
    """

    dot: DotName
    name: WorktreeName
    branch: RefName
    head: CommitId | None
    places: Mapping[SubdotName, str] = field(default_factory=dict)
    project: str | None = None
    tree: bool = False


@dataclass(frozen=True)
class ReflogEntry:
    """One move of a worktree, newest first in lists. `saved` holds what was uncommitted before the move, if anything.

    `branch` is where it stands after the move, `left` where it stood before.
    """

    number: int
    at: datetime
    action: str
    branch: RefName
    old: CommitId | None
    new: CommitId | None
    saved: CommitId | None
    left: RefName


@dataclass(frozen=True)
class Move:
    """What a restore does to its worktree once the files are in place: stand on `head` of `branch`, and log it.

    `saved` is the commit with the state before, for undo; None when nothing was uncommitted. When the move leaves a branch,
    `saved` is that branch's uncommitted state from then on, and the branch arrived at has none but the live one.
    """

    action: str
    branch: RefName
    head: CommitId | None
    saved: CommitId | None = None


@dataclass(frozen=True)
class JournalEntry:
    """An operation that has begun and has not said that it is over.

    `paused` and `stopped` are ids of the containers it was about to pause or take down. A restore has a `target`, the commit
    whose files it puts in place, and a `move`. A switch has a `move` and makes its worktree the one that the dot's volumes
    follow. A session is a test run that goes back to `target` when it ends.
    """

    id: EntryId
    dot: DotName
    worktree: WorktreeName
    operation: str
    paused: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    target: CommitId | None = None
    move: Move | None = None

    @property
    def makes(self) -> CommitId | None:
        """The id of the commit that the operation makes, which has the same digits; None for every other operation.

        The commit may be published while its entry is still open.
        """
        return CommitId(self.id) if self.operation == COMMIT else None


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise UsageError for a field name that does not start with a lower-case letter."""
    for name in metadata:
        if not name or not name[0].islower():
            raise UsageError(
                f"metadata field names must start with lowercase characters: {name!r}", hint="For example: --metadata author=me"
            )
