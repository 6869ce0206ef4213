"""Commits, worktrees and the operations on them, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from dm_compose.core.names import CommitId, DotName, EntryId, RefName, SubdotName, WorktreeName
from dm_compose.errors import UsageError

WRITTEN = (
    "written"  # metadata of a hidden commit: the subdots that somebody had written to; the others have an engine's own writes
)
COMMIT, RESTORE, SWITCH, SESSION = "commit", "restore", "switch", "session"  # operations of the journal
BEFORE_TESTS = "before tests"  # the reflog's word for what was uncommitted when a test run took the stack


@dataclass(frozen=True)
class SubdotState:
    """One subdot within a commit.

    `manifest` is the id of its manifest in the store. `files` counts regular files, and `size_bytes` is the sum of their sizes.
    The other fields say which software wrote the data: see Origin.
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
    """All subdots of a dot at one instant. Immutable.

    `new_bytes` counts what no commit before had: new files, and of changed ones the blocks that differ, or all of the file where
    the file system shares blocks (nobody has compared it then). `compose_hash` is the digest of the project's compose
    model, and `architecture` is the engine's.

    A `clean` commit was made while the datastores were shut down. Any other commit holds the files as a crash at that instant
    would leave them, so engines replay their logs when they start on it. A `hidden` commit keeps a state for `undo`; `log`
    leaves it out. A `shallow` commit came from a remote without its ancestors, so its parent need not be in the store.

    `unready` has the services that were not ready when the commit was made, each with the reason. It may be that nothing can
    start from such a commit.
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
    unready: Mapping[str, str] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        return sum(s.size_bytes for s in self.subdots.values())


@dataclass(frozen=True)
class Verification:
    """The outcome of starting a clone of a commit: each service's datastore was asked, and its own checker has run.

    `problems` has the services whose datastore did not come up, or whose checker found damage, with its words. `findings` has all
    services that were asked, each with a few words on the outcome.
    """

    at: datetime
    findings: Mapping[str, str]
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class CommitDraft:
    """A commit without its files, as its maker describes it. The store adds the files. The fields are those of Commit.

    With a `branch` the commit becomes the head of that new branch, and the worktree stays on its own branch.
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
    unready: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Origin:
    """The software that writes a subdot's data. A field is None where it is not known.

    `service` is the name in the compose file, and `path` is where its container mounts the subdot. `engine` is the datastore's
    name. `version` is the part of its version that decides whether it can read a data directory. `image` is the image's
    reference, and `image_digest` is its id on the Docker Engine that made the commit.
    """

    service: str | None = None
    path: str | None = None
    engine: str | None = None
    version: str | None = None
    image: str | None = None
    image_digest: str | None = None


@dataclass(frozen=True)
class Worktree:
    """A dot's files in one set of places, and the branch that they are on.

    `head` is the branch's newest commit, None on a branch without commits. `places` says where each subdot's files are: in a
    volume (its name) or in a host directory (its absolute path). A `tree` has no places, because its subdots are directories
    of the store (Store.tree). `project` is the Compose project that the volumes belong to.
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
    """One move of a worktree. Lists of moves begin with the newest.

    The worktree was on `left` at `old`, and is on `branch` at `new` since. `saved` is the commit with the state before the
    move, None when nothing was uncommitted.
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
    """A change of a worktree's branch and head. A restore makes it when the files are in place, and logs it as `action`.

    The worktree is on `branch` afterwards, and the head of that branch is `head`. `saved` is the commit with the state before,
    for `undo`, None when nothing was uncommitted. If the move leaves a branch, `saved` becomes the uncommitted state of that
    branch. The branch that the worktree arrives on keeps no uncommitted state but its live files.
    """

    action: str
    branch: RefName
    head: CommitId | None
    saved: CommitId | None = None


@dataclass(frozen=True)
class JournalEntry:
    """An operation that has begun and has not ended. Its `operation` is one of COMMIT, RESTORE, SWITCH and SESSION.

    `paused` and `stopped` are ids of the containers that it was about to pause or take down. A restore puts the files of
    `target` in place and then makes its `move`, if it has one. A switch makes `worktree` the one that the dot's volumes follow,
    and its `move` is what the reflog will say. A session is a test run; `target` is put back when it ends. `owner` describes the
    test run's process, as the holder of the session's lock is described, and `began` is the session's begin.
    """

    id: EntryId
    dot: DotName
    worktree: WorktreeName
    operation: str
    paused: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    target: CommitId | None = None
    move: Move | None = None
    owner: str | None = None
    began: datetime | None = None

    @property
    def keeps(self) -> CommitId | None:
        """The commit with the user's state that the operation has put aside, None if there is none.

        A restore without a move is a visit of a test run, or puts the state of before back: then its target is such a state.
        """
        return self.move.saved if self.move is not None else self.target

    @property
    def makes(self) -> CommitId | None:
        """The id of the commit that the operation makes, which has the same digits. None for every other operation.

        A hidden commit is published while its entry is still open.
        """
        return CommitId(self.id) if self.operation == COMMIT else None


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raise UsageError for a field whose name does not start with a lower-case letter."""
    for name in metadata:
        if not name or not name[0].islower():
            raise UsageError(
                f"metadata field names must start with lowercase characters: {name!r}", hint="For example: --metadata author=me"
            )
