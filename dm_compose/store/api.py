"""What a store offers. Everything above this line works with any implementation and may assume no more than is said here.

Arguments and results are plain data (dm_compose.core.plain), because a call may cross a pipe. A directory is a path as
the process that runs the store sees it. Methods raise DmError only. Unless said otherwise a method that changes something is
durable and atomic when it returns, and its caller holds the dot's lock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from dm_compose.core.commit import Commit, CommitDraft, JournalEntry, Move, ReflogEntry, Worktree
from dm_compose.core.names import CommitId, DotName, EntryId, RefName, SubdotName, WorktreeName
from dm_compose.core.tree import Restored, TreeDiff
from dm_compose.core.upkeep import Checkup, FileSystemProbe, Garbage
from dm_compose.store.exchange import Exchange

Directories = Mapping[SubdotName, str]
COMPARE_BUDGET_BYTES = 1 << 30  # how much `status` reads to tell how many bytes of changed files differ: about half a second


@dataclass(frozen=True)
class Captured:
    """What `capture` took while nobody wrote. `new_bytes`: size of the files the head does not have; `copied_bytes`: read and
    written.
    """

    new_bytes: int
    copied_bytes: int


class Store(Protocol):
    """One store of dots."""

    def close(self) -> None:
        """Release locks and files. Unfinished operations stay in the journal."""

    # Locks

    def lock(self, name: str, who: str, timeout_s: float) -> str:
        """Take the kernel lock `name` (a dot, or `DOT.session`) and return a token for `unlock`.

        `who` is shown to others that wait. InUseError with the holder's `who` after `timeout_s`. The lock ends with the process.
        """

    def unlock(self, token: str) -> None:
        """Give a lock back. Idempotent."""

    # Dots and worktrees

    def dots(self) -> list[DotName]:
        """Names of all dots, sorted, clones among them. Needs no lock."""

    def has_dot(self, dot: DotName) -> bool:
        """Whether there is a dot of that name. Needs no lock."""

    def create_dot(self, dot: DotName, *, tree: bool = False, owner: str | None = None) -> None:
        """Make a dot with its main worktree on an unborn default branch; ExistsError when there is one. Needs no lock, but while
        one of that name may be being deleted.

        The main worktree of a `tree` dot is a directory of the store, as is one worktree for each other branch that was ever
        checked out; `current` says which one the dot's volumes follow. A dot with an `owner` is a clone: see `clones`.
        """

    def clones(self) -> Mapping[DotName, str]:
        """Return the dots that were made for a process and go with it, and who it is. Needs no lock.

        The lock `DOT.session` of such a dot is held for as long as that process lives and uses it.
        """

    def delete_dot(self, dot: DotName) -> None:
        """Forget a dot with its commits and remove its trees; its objects are garbage then. Docker's volumes stay."""

    def current(self, dot: DotName) -> WorktreeName:
        """Return the worktree that the dot's volumes follow. Needs no lock."""

    def worktree(self, dot: DotName, name: WorktreeName) -> Worktree:
        """Return a worktree; NotFoundError when the dot or the worktree does not exist. Needs no lock."""

    def worktrees(self, dot: DotName) -> Mapping[WorktreeName, Worktree]:
        """Return all worktrees of a dot; NotFoundError when it does not exist. Needs no lock."""

    def worktree_of(self, project: str) -> Worktree | None:
        """Return the worktree that a Compose project's volumes are, None where that is its dot's main one. Needs no lock."""

    def tree(self, dot: DotName, name: WorktreeName) -> Directories:
        """Return the subdots of a tree and their directories. `__root__`, its whole directory, is one; what the others hold is
        not in it. NotFoundError for what is no tree. Needs no lock.
        """

    def make_subdot(self, dot: DotName, name: WorktreeName, subdot: SubdotName) -> str:
        """Return the directory of a tree's subdot, made empty when it is missing; ExistsError where a file or link has its name.
        NotFoundError for what is no tree. Needs no lock.
        """

    def add_worktree(self, worktree: Worktree, start: CommitId, entry: JournalEntry | None = None) -> None:
        """Register a worktree, and its branch where that is new, at commit `start`. A tree is filled: with the branch's
        uncommitted state if there is one, else with its head. A switch to it, if it is made for one, is journalled with it.

        ExistsError for the name, InUseError for a branch that is checked out elsewhere. A crash leaves no such worktree.
        """

    def remove_worktree(self, dot: DotName, name: WorktreeName, saved: CommitId | None = None) -> None:
        """Forget a worktree and its reflog, and remove its tree. InUseError for the main and the current one.

        `saved` is its branch's uncommitted state from then on.
        """

    def set_places(self, dot: DotName, name: WorktreeName, places: Mapping[SubdotName, str]) -> None:
        """Record where the subdots of a worktree are. Needs no lock."""

    # History. None of these needs a lock.

    def resolve(self, dot: DotName, worktree: WorktreeName, ref: str) -> CommitId:
        """Return the commit that `ref` means: HEAD, a branch, a tag or an id prefix of 4 digits, each with any of `^` and `~N`.

        NotFoundError, AmbiguousError (naming the candidates).
        """

    def commit(self, dot: DotName, commit_id: CommitId) -> Commit:
        """Return a commit."""

    def log(self, dot: DotName, start: CommitId) -> list[Commit]:
        """Return a commit and its ancestors, newest first."""

    def branches(self, dot: DotName) -> Mapping[RefName, CommitId]:
        """Return the branches that have commits."""

    def tags(self, dot: DotName) -> Mapping[RefName, CommitId]:
        """Return the tags."""

    def uncommitted(self, dot: DotName) -> Mapping[RefName, CommitId]:
        """Return the hidden commits that hold what was uncommitted when a branch was left, by branch."""

    def add_branch(self, dot: DotName, name: RefName, commit_id: CommitId) -> None:
        """Make a branch; ExistsError when there is one, or uncommitted state of one without commits."""

    def begin_branch(self, dot: DotName, worktree: WorktreeName, name: RefName) -> None:
        """Have a worktree stand on a branch that has no commit yet; its next commit is the branch's first. No file moves.

        Idempotent. ExistsError for a branch with commits, InUseError for one that another worktree has checked out.
        """

    def move_branch(self, dot: DotName, name: RefName, commit_id: CommitId) -> None:
        """Make a branch, or have it name another commit; InUseError while it is checked out."""

    def remove_branch(self, dot: DotName, name: RefName) -> None:
        """Forget a branch and note in the reflog of the current worktree what it held. NotFoundError; InUseError while it is
        checked out.
        """

    def share_commit(self, source: DotName, commit_id: CommitId, dot: DotName) -> Commit:
        """Make a commit of `source` known to `dot` too, under the same id and over the same objects; no branch moves.

        Idempotent. It is shallow there unless its parent is known there.
        """

    def set_tag(self, dot: DotName, name: RefName, commit_id: CommitId) -> None:
        """Name a commit; ExistsError when the name is taken."""

    def remove_tag(self, dot: DotName, name: RefName) -> None:
        """Forget a tag; NotFoundError."""

    def settled(self, dot: DotName, commit_id: CommitId) -> CommitId | None:
        """Return the settled form of a commit: the same state as its engines leave it when they shut down."""

    def set_settled(self, dot: DotName, commit_id: CommitId, form: CommitId) -> None:
        """Have a commit of the dot be the settled form of another; it stays for as long as that one."""

    def reflog(self, dot: DotName, worktree: WorktreeName) -> list[ReflogEntry]:
        """Return the moves of a worktree, newest first."""

    # Looking at trees. None of these needs a lock or an existing dot; a writer meanwhile makes the answer approximate.

    def differing(self, dot: DotName, worktree: WorktreeName, directories: Directories, target: CommitId) -> list[SubdotName]:
        """Return the subdots whose files are not provably those of `target`, by time stamps alone: never misses one, may name
        one too many. Those of a tree that `target` does not have are among them: a restore removes them.
        """

    def diff_live(
        self,
        dot: DotName,
        worktree: WorktreeName,
        directories: Directories,
        base: CommitId | None,
        ignore: Mapping[SubdotName, Sequence[str]],
        budget_bytes: int | None,
    ) -> Mapping[SubdotName, TreeDiff]:
        """Return the changes from `base` (None: from nothing) to the live trees; see storage.diff for `ignore` and
        `budget_bytes`.
        """

    def diff_commits(
        self, dot: DotName, base: CommitId, other: CommitId, ignore: Mapping[SubdotName, Sequence[str]]
    ) -> Mapping[SubdotName, TreeDiff]:
        """Return the changes from one commit to another."""

    def mark_quiet(self, dot: DotName, worktree: WorktreeName, directories: Directories) -> None:
        """Remember the trees as they are now: whatever differs from the restored commit was written by the engines' own start.

        The mark is gone with the next commit or restore. Subdots that are left out have none from now on.
        """

    def changed_since_quiet(
        self, dot: DotName, worktree: WorktreeName, directories: Directories, ignore: Mapping[SubdotName, Sequence[str]]
    ) -> list[SubdotName]:
        """Return the subdots with files written to since `mark_quiet`, by time stamps; a subdot without a mark is one of them."""

    def watch_files(
        self, directories: Directories, ignore: Mapping[SubdotName, Sequence[str]], since: datetime, kept: Sequence[SubdotName]
    ) -> None:
        """Note how the files are now, for `written_files` and for as long as the store is open. Those that are `kept` are as they
        were noted before. What matches a pattern, and what is below it, is left out; files as young as `since` cost a syncfs.
        """

    def written_files(self, directories: Directories) -> list[SubdotName]:
        """Return the subdots with files written to since they were noted; one that was not is one of them. Takes a look at each
        path that is not left out, and no lock.
        """

    def files_written_since(
        self, directories: Directories, ignore: Mapping[SubdotName, Sequence[str]], since: datetime
    ) -> list[SubdotName]:
        """Return the subdots with a file that was written to or made after an instant, by time stamps, but for what matches a
        pattern. That a file was removed is not seen.
        """

    # Making a commit: prepare, [will_disturb, pause], capture, [thaw], publish; or abandon.

    def prepare_commit(self, dot: DotName, worktree: WorktreeName, directories: Directories) -> EntryId:
        """Begin a commit and copy what changed so far, while writers run. Return the id of its journal entry.

        The subdots of a tree are those that it has when it is captured.
        """

    def will_disturb(self, entry_id: EntryId, paused: Sequence[str], stopped: Sequence[str]) -> None:
        """Write down which containers are about to be paused or stopped, so that recovery can put them back."""

    def capture(self, entry_id: EntryId) -> Captured:
        """Take the trees as they are. The caller has made sure that nobody writes to them until this returns."""

    def captured_changes(self, entry_id: EntryId, ignore: Mapping[SubdotName, Sequence[str]]) -> list[SubdotName]:
        """Return the subdots of a captured commit that differ from the head, contents not compared where time stamps moved."""

    def publish(self, entry_id: EntryId, draft: CommitDraft) -> Commit:
        """Make the captured trees a commit, a child of the worktree's head. Its id has the same digits as the entry's.

        The worktree's branch moves to the commit. There are two exceptions: a hidden commit moves no branch, and a draft with
        a `branch` starts that branch, which must not exist yet.

        The entry is closed, unless the commit is hidden. Then containers may still be paused: either `begin_restore` takes the
        entry over, or `abandon` closes it and keeps the commit.
        """

    def note(self, dot: DotName, worktree: WorktreeName, action: str, saved: CommitId) -> None:
        """Add a reflog entry that moves nothing, so that `saved` can be found again."""

    def abandon(self, entry_id: EntryId) -> None:
        """Close the journal entry of a commit, and forget the commit if it has not been published. Idempotent."""

    # Restoring: begin, restore each subdot, sync, end.

    def begin_restore(
        self,
        dot: DotName,
        worktree: WorktreeName,
        target: CommitId,
        stopped: Sequence[str],
        move: Move | None,
        takes_over: EntryId | None,
    ) -> EntryId:
        """Journal a restore before anything is taken down. Return the id of its entry.

        With a `move` the worktree's head and branch follow, and the reflog has the move. Without one they stay as they are:
        only the files become those of `target`, for a while. `takes_over` is the entry of a commit; it is closed in the same
        transaction, and its paused containers become this entry's.

        NotFoundError for a commit that does not exist, because the restore could never end. InUseError for a move to a branch
        that another worktree has checked out.
        """

    def restore_subdot(self, entry_id: EntryId, subdot: SubdotName, directories: Directories) -> Restored:
        """Make one subdot's directory equal to the target. The containers that write to it are down. Not atomic, idempotent.

        `directories` are those of all subdots, because one may hold another's. Subdots may be restored concurrently. A subdot
        that the target does not have is left as it is, with the directories that lead to it; in a tree it is removed with the
        restore of `__root__`.
        """

    def sync_restored(self, entry_id: EntryId) -> None:
        """Make the restored files durable and remember their time stamps. May run while the datastores start."""

    def end_restore(self, entry_id: EntryId) -> None:
        """Carry out the journalled move, if any (head and reflog), and close the entry, in one transaction.

        A move to another head than the files restored forgets what `mark_quiet` noted: the files are uncommitted.
        """

    def close_entry(self, entry_id: EntryId) -> None:
        """Close the entry of a restore that touched no file, of a switch or session that is over. Idempotent."""

    def begin_switch(self, dot: DotName, worktree: WorktreeName, stopped: Sequence[str], action: str) -> EntryId:
        """Journal that the dot's volumes are about to follow another worktree; return the entry's id.

        `stopped` are the containers that go down and up for it; `close_entry` closes the entry when they are up.
        """

    def switch(self, entry_id: EntryId) -> None:
        """Have the dot's volumes follow the entry's worktree, and log it as `action`. Idempotent."""

    def begin_session(self, dot: DotName, worktree: WorktreeName, target: CommitId) -> EntryId:
        """Journal that the worktree is lent to tests and goes back to `target` afterwards; return the entry's id for
        `close_entry`.

        The caller holds the lock `DOT.session` for as long as the session lives.
        """

    def unfinished(self, dot: DotName) -> list[JournalEntry]:
        """Return the operations that somebody began and nobody ended. With the dot's lock held, their owners are dead."""

    # Upkeep. The caller holds the locks of all dots.

    def garbage(self, keep_since: datetime) -> Garbage:
        """Return what `collect` would free: whatever no branch, tag, uncommitted state, unfinished operation or reflog entry of
        that instant or later names. A dot that is lent to tests keeps all of its commits.
        """

    def collect(self, keep_since: datetime) -> Garbage:
        """Free the garbage and forget older reflog entries. A crash leaves garbage, never a commit without its objects."""

    def check(self, live: Mapping[DotName, Mapping[WorktreeName, Directories]], *, repair: bool) -> Checkup:
        """Compare every manifest and object with its digest, which is recorded at the first look. Deletes nothing.

        With `repair` a damaged object or manifest is taken from another with the same contents, or from a file of a `live`
        worktree that is proven to hold it.
        """

    def export(self, dot: DotName, commit_id: CommitId, directory: str, subdot: SubdotName | None = None) -> None:
        """Write a commit's subdots as directories below `directory`, or the files of one `subdot` into it. The directory is
        made, or is empty: ExistsError. Not atomic. Needs no lock.
        """

    def probe(self, directories: Directories) -> FileSystemProbe:
        """Try what the file system of the store can do, with a scratch file that is removed. Needs no lock."""

    def exchange(self) -> Exchange:
        """Return what moves objects to and from other stores."""

    # Settings of the store, and the names by which Docker knows volumes of dots. None of these needs a lock.

    def settings(self) -> Mapping[str, str]:
        """Return all settings."""

    def set_setting(self, name: str, value: str | None) -> None:
        """Change a setting; None forgets it. UsageError for bytes that are not text."""

    def volumes(self) -> Mapping[str, DotName]:
        """Return the registered volumes and their dots."""

    def add_volume(self, name: str, dot: DotName) -> None:
        """Register a volume; NotFoundError when there is no such dot. Idempotent."""

    def remove_volume(self, name: str) -> None:
        """Forget a registration; the data stays. Idempotent."""
