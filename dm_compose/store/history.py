"""The part of the contract that is about history: dots, worktrees, commits, branches, tags, and settings of the store.

See dm_compose.store.api for what all methods of a store have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from dm_compose.core.commit import Commit, JournalEntry, ReflogEntry, Verification, Worktree
from dm_compose.core.names import CommitId, DotName, RefName, SubdotName, WorktreeName

Directories = Mapping[SubdotName, str]
CURRENT = ".current"  # a symlink beside the trees of a dot, to the one that the dot's volumes follow


class History(Protocol):
    """The dots of a store, their worktrees and their commits."""

    # Dots. A clone is a dot that was made for a process.

    def dots(self) -> list[DotName]:
        """Return the names of all dots, clones included, sorted. Needs no lock."""

    def has_dot(self, dot: DotName) -> bool:
        """Return whether there is a dot of that name. Needs no lock."""

    def clones(self) -> Mapping[DotName, str]:
        """Return all clones, each with a description of the process that it belongs to. Needs no lock.

        That process holds the lock `DOT.session` while it lives and uses the clone. Without it the clone can go.
        """

    def create_dot(self, dot: DotName, *, tree: bool = False, owner: str | None = None) -> None:
        """Make a dot with a main worktree, on a default branch without commits. ExistsError if there is one of that name.

        In a `tree` dot the main worktree is a directory of the store. So is one further worktree for each other branch that was
        ever checked out, and `current` says which of them the dot's volumes follow. A dot with an `owner` is a clone.

        Needs no lock, unless somebody may be deleting a dot of that name.
        """

    def delete_dot(self, dot: DotName) -> None:
        """Forget a dot with all of its commits, and remove its trees. Its objects become garbage. Docker's volumes stay.

        Idempotent.
        """

    # Worktrees

    def current(self, dot: DotName) -> WorktreeName:
        """Return the worktree that the dot's volumes follow. NotFoundError when there is no such dot. Needs no lock."""

    def worktree(self, dot: DotName, name: WorktreeName) -> Worktree:
        """Return a worktree. NotFoundError when the dot or the worktree does not exist. Needs no lock."""

    def worktrees(self, dot: DotName) -> Mapping[WorktreeName, Worktree]:
        """Return all worktrees of a dot. NotFoundError when there is no such dot. Needs no lock."""

    def worktree_of(self, project: str) -> Worktree | None:
        """Return the worktree that was added for a Compose project.

        None when there is none: the volumes of such a project are the main worktree of its dot. Needs no lock.
        """

    def tree(self, dot: DotName, name: WorktreeName) -> Directories:
        """Return the directories of a tree's subdots. NotFoundError for a worktree that is no tree. Needs no lock.

        `__root__` is the whole directory of the tree; as a subdot it holds the files that are in no other subdot.
        """

    def make_subdot(self, dot: DotName, name: WorktreeName, subdot: SubdotName) -> str:
        """Return the directory of a tree's subdot, and make it if it is missing. Needs no lock.

        ExistsError where a file or link has its name. NotFoundError for a worktree that is no tree.
        """

    def add_worktree(self, worktree: Worktree, start: CommitId, entry: JournalEntry | None = None) -> None:
        """Register a worktree. If its branch is new, it begins at the commit `start`.

        A tree is filled with the uncommitted state of the branch, or with the branch's head if there is none. An `entry`, of a
        switch to the worktree, is journalled in the same transaction.

        ExistsError for a worktree of that name. InUseError for a branch that is checked out elsewhere.
        """

    def remove_worktree(self, dot: DotName, name: WorktreeName, saved: CommitId | None = None) -> None:
        """Forget a worktree and its reflog, and remove its tree. The commit `saved` becomes its branch's uncommitted state.

        `collect` keeps the commits that the reflog names as long as those of other reflogs.

        InUseError for the main worktree and the current one.
        """

    def set_places(self, dot: DotName, name: WorktreeName, places: Mapping[SubdotName, str]) -> None:
        """Record the places of subdots of a worktree. Other subdots keep theirs. Needs no lock."""

    # Commits. No method from here on needs a lock.

    def resolve(self, dot: DotName, worktree: WorktreeName, ref: str) -> CommitId:
        """Return the commit that `ref` means: HEAD, a branch, a tag, or at least 4 first digits of an id.

        Any number of `^` and `~N` may follow. NotFoundError. AmbiguousError, which names the candidates.
        """

    def commit(self, dot: DotName, commit_id: CommitId) -> Commit:
        """Return a commit. NotFoundError when the dot has none of that id."""

    def log(self, dot: DotName, start: CommitId) -> list[Commit]:
        """Return a commit and its ancestors. The newest comes first."""

    def share_commit(self, source: DotName, commit_id: CommitId, dot: DotName) -> Commit:
        """Make a commit of `source` a commit of `dot` too, with the same id and the same objects. No branch moves. Idempotent.

        In `dot` it is shallow, unless `dot` has its parent.
        """

    def settled(self, dot: DotName, commit_id: CommitId) -> CommitId | None:
        """Return the settled form of a commit: the same state, as its engines leave it when they shut down.

        None when there is none yet.
        """

    def set_settled(self, dot: DotName, commit_id: CommitId, form: CommitId) -> None:
        """Record that the commit `form` is the settled form of another commit of the dot. It is kept as long as that one."""

    def verifications(self, dot: DotName) -> Mapping[CommitId, Verification]:
        """Return the latest verification of each commit that was verified. It stays in this store, and is not pushed."""

    def set_verification(self, dot: DotName, commit_id: CommitId, found: Verification) -> None:
        """Note the outcome of a verification. The commit and its id do not change. NotFoundError when there is no such commit."""

    def reflog(self, dot: DotName, worktree: WorktreeName) -> list[ReflogEntry]:
        """Return the moves of a worktree. The newest comes first."""

    # Branches and tags

    def branches(self, dot: DotName) -> Mapping[RefName, CommitId]:
        """Return the branches that have commits, with their heads."""

    def tags(self, dot: DotName) -> Mapping[RefName, CommitId]:
        """Return the tags, with their commits."""

    def uncommitted(self, dot: DotName) -> Mapping[RefName, CommitId]:
        """Return the uncommitted state of each branch that was left with one, as a hidden commit."""

    def add_branch(self, dot: DotName, name: RefName, commit_id: CommitId) -> None:
        """Make a branch at a commit.

        ExistsError for a branch that exists. It may exist without a commit, if a worktree is on it or it has uncommitted state.
        """

    def begin_branch(self, dot: DotName, worktree: WorktreeName, name: RefName) -> None:
        """Put a worktree on a branch without commits. The worktree's next commit will be the branch's first. No file changes.

        Idempotent. ExistsError for a branch with commits. InUseError for a branch that another worktree has checked out.
        """

    def move_branch(self, dot: DotName, name: RefName, commit_id: CommitId) -> None:
        """Make a branch name a commit, whether it exists or not. InUseError while it is checked out."""

    def remove_branch(self, dot: DotName, name: RefName) -> None:
        """Forget a branch with its uncommitted state.

        The reflog of the current worktree notes the commit with that state, or the branch's head if there is none.
        NotFoundError. InUseError while it is checked out.
        """

    def set_tag(self, dot: DotName, name: RefName, commit_id: CommitId, *, move: bool = False) -> None:
        """Give a commit a name. ExistsError when the name is taken, unless the tag may `move`; the reflog names both then."""

    def remove_tag(self, dot: DotName, name: RefName) -> None:
        """Forget a tag. NotFoundError."""

    # Settings of the store, and volumes of the volume driver

    def settings(self) -> Mapping[str, str]:
        """Return all settings by name."""

    def set_setting(self, name: str, value: str | None) -> None:
        """Change a setting, or forget it if `value` is None. UsageError for characters that are no text."""

    def volumes(self) -> Mapping[str, DotName]:
        """Return the dots of the registered volumes, by the name that Docker uses for the volume."""

    def add_volume(self, name: str, dot: DotName) -> None:
        """Register a volume. NotFoundError when there is no such dot. Idempotent."""

    def remove_volume(self, name: str) -> None:
        """Forget a registration. The data stays. Idempotent."""
