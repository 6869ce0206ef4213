"""The contract of a store. Everything above works with any implementation, and may rely only on what is said here.

Arguments and results are plain data (dm_compose.core.plain), because a call may cross a pipe. A directory is a path as the
store's process sees it. Methods raise DmError only.

Unless a method says otherwise, its caller holds the dot's lock, and a change is atomic, and durable when the method returns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from dm_compose.core.commit import Commit, CommitDraft, JournalEntry, Move
from dm_compose.core.names import CommitId, DotName, EntryId, SubdotName, WorktreeName
from dm_compose.core.tree import Restored, TreeDiff
from dm_compose.store.exchange import Exchange
from dm_compose.store.history import Directories, History
from dm_compose.store.upkeep import StoreUpkeep

COMPARE_BUDGET_BYTES = 1 << 30  # `status` reads this much to count the bytes that differ, which takes about half a second


class Store(History, StoreUpkeep, Protocol):
    """One store of dots: their files, and the operations on them. For their history see History, for gc and fsck StoreUpkeep."""

    def close(self) -> None:
        """Give all locks back and close all files. Unfinished operations stay in the journal."""

    # Locks

    def lock(self, name: str, who: str, timeout_s: float) -> str:
        """Take a lock, and return a token for `unlock`. The name is that of a dot, or `DOT.session`.

        The lock ends with the store's process. `who` describes its holder to others that wait. InUseError, which names the
        holder, after `timeout_s`.
        """

    def unlock(self, token: str) -> None:
        """Give a lock back. Idempotent."""

    def holder(self, name: str) -> str | None:
        """Return the description that the holder of a lock gave of itself, None if nobody holds the lock.

        '' if the holder could not write a description.
        """

    # Comparing files. These methods need no lock. A dot need not exist yet, unless one of its commits is given. If somebody
    # writes to the files meanwhile, the answer is approximate. `ignore` holds shell patterns of paths to leave out, by subdot.

    def differing(self, dot: DotName, worktree: WorktreeName, directories: Directories, target: CommitId) -> list[SubdotName]:
        """Return the subdots whose files may differ from those of `target`. No contents are read.

        The answer never misses a difference. It may name a subdot whose files are the same if time stamps do not prove it. In a
        tree it also names the subdots that `target` does not have, because a restore removes them.
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
        """Return the changes from a commit to the live files. If `base` is None, all files are new.

        Each subdot has its own `budget_bytes` of files to read, and None is no limit: see storage.diff.
        """

    def diff_commits(
        self, dot: DotName, base: CommitId, other: CommitId, ignore: Mapping[SubdotName, Sequence[str]]
    ) -> Mapping[SubdotName, TreeDiff]:
        """Return the changes from one commit to another. All contents that may differ are compared."""

    def mark_quiet(
        self, dot: DotName, worktree: WorktreeName, directories: Directories, kept: Sequence[SubdotName] = (), note: str = ""
    ) -> None:
        """Remember the time stamps of all files, for `changed_since_quiet`, and a caller's note, for `quiet_note`.

        Call this after a restore, when the engines are up. Differences from the restored commit were then written by the
        engines' own start, and not by a user. The next commit or restore of a subdot removes its mark, and so does this method
        for subdots that are neither among the `directories` nor among the `kept` ones, which keep their earlier marks.
        """

    def quiet_note(self, dot: DotName, worktree: WorktreeName) -> str:
        """Return the note of the last `mark_quiet`. It is '' if there is none, or if all marks of the worktree are gone."""

    def changed_since_quiet(
        self, dot: DotName, worktree: WorktreeName, directories: Directories, ignore: Mapping[SubdotName, Sequence[str]]
    ) -> list[SubdotName]:
        """Return the subdots with files that were written to since `mark_quiet`, by their time stamps.

        A subdot without a mark is among them.
        """

    def watch_files(
        self, directories: Directories, ignore: Mapping[SubdotName, Sequence[str]], since: datetime, kept: Sequence[SubdotName]
    ) -> None:
        """Note the time stamps of all files, for `written_files`. The notes last as long as the store is open.

        Subdots in `kept` keep their earlier notes. Ignored paths, and everything below them, are left out. If a file was
        modified at `since` or later, its file system is synced first: see storage.quiet.
        """

    def written_files(self, directories: Directories) -> list[SubdotName]:
        """Return the subdots with files that were written to since `watch_files` noted them.

        A subdot without notes is among them. Each path that was noted is looked at once.
        """

    def files_written_since(
        self, directories: Directories, ignore: Mapping[SubdotName, Sequence[str]], since: datetime
    ) -> list[SubdotName]:
        """Return the subdots with a file that was made or written to after an instant, by the time stamps.

        Ignored paths are left out. A removed file leaves no trace here.
        """

    # Making a commit: prepare_commit, [will_disturb, pause the writers], capture, [thaw them], publish. Or abandon.

    def prepare_commit(self, dot: DotName, worktree: WorktreeName, directories: Directories) -> EntryId:
        """Begin a commit: copy the files that have changed so far, while writers run. Return the id of its journal entry.

        In a tree `capture` looks for subdots again, because they come and go.
        """

    def will_disturb(self, entry_id: EntryId, paused: Sequence[str], stopped: Sequence[str]) -> None:
        """Write down the ids of the containers that are about to be paused or stopped, so that recovery can put them back."""

    def capture(self, entry_id: EntryId) -> int:
        """Take all files as they are now. The caller sees to it that nobody writes to them until this returns.

        Return how many bytes had to be read and written since `prepare_commit`, because the file systems cannot share blocks.
        """

    def captured_changes(self, entry_id: EntryId, ignore: Mapping[SubdotName, Sequence[str]]) -> list[SubdotName]:
        """Return the subdots of the captured state that differ from the head. No contents are compared.

        A file whose time stamps have changed counts as different. Ignored paths do not count.
        """

    def captured_news(
        self, entry_id: EntryId, kept: Sequence[CommitId], ignore: Mapping[SubdotName, Sequence[str]]
    ) -> list[SubdotName]:
        """Return the subdots of the captured state with a path that is in none of the `kept` commits as it is here.

        So a mixture of commits, as a restore that was killed leaves it, has no news. Contents are compared up to a budget; a file
        beyond it is news. Ignored paths do not count.
        """

    def publish(self, entry_id: EntryId, draft: CommitDraft) -> Commit:
        """Make the captured files a commit, a child of the worktree's head. Its id has the same digits as the entry's.

        The worktree's branch moves to the commit. There are two exceptions: a hidden commit moves no branch, and a draft with a
        `branch` starts that branch, which must not exist yet.

        The entry is closed, unless the commit is hidden. Then containers may still be paused: either `begin_restore` takes the
        entry over, or `abandon` closes it and keeps the commit.
        """

    def note(self, dot: DotName, worktree: WorktreeName, action: str, saved: CommitId) -> None:
        """Add a reflog entry without a move, so that the commit `saved` can be found again."""

    def combine(
        self, dot: DotName, worktree: WorktreeName, base: CommitId, other: CommitId, subdots: Sequence[SubdotName]
    ) -> Commit:
        """Return a new hidden commit with the files of `base`, but in these subdots with those of `other`. No file is copied.

        The reflog names the commit, as `note` would. NotFoundError for a commit or a subdot that does not exist.
        """

    def stand_on(self, dot: DotName, worktree: WorktreeName, move: Move) -> None:
        """Make a move of a worktree at once, while its files stay as they are. Atomic and durable.

        The branch is made if there is none. The marks of `mark_quiet` are removed if the head becomes another commit. Neither
        branch has an uncommitted state afterwards, except for what the move says. InUseError for a branch that another worktree
        has checked out.
        """

    def abandon(self, entry_id: EntryId) -> None:
        """Close the entry of a commit. If the commit has not been published, remove what was captured. Idempotent."""

    # Restoring: begin_restore, restore_subdot for each, sync_restored, end_restore.

    def begin_restore(
        self,
        dot: DotName,
        worktree: WorktreeName,
        target: CommitId,
        stopped: Sequence[str],
        move: Move | None,
        takes_over: EntryId | None,
        supersedes: Sequence[EntryId] = (),
    ) -> EntryId:
        """Journal a restore before any container is taken down. Return the id of its entry.

        With a `move` the worktree's branch and head follow at the end, and the reflog has the move. Without one only the files
        become those of `target`. `stopped` are the ids of the containers that will be taken down. `takes_over` is the entry of
        a commit. That entry is closed in the same transaction, and its paused containers become this one's. `supersedes` are the
        entries of restores and sessions that nobody has to finish any more, because this restore does. They are closed in the
        same transaction, and their stopped containers become this one's.

        NotFoundError for a commit that does not exist, because such a restore could never end. InUseError for a move to a
        branch that another worktree has checked out.
        """

    def restore_subdot(self, entry_id: EntryId, subdot: SubdotName, directories: Directories) -> Restored:
        """Make the files of one subdot those of the target. The caller has taken down the containers that write to them.

        Idempotent, and not atomic: an interrupted restore leaves a mixture, and is done again. Several subdots may be restored
        at once. `directories` are those of all subdots, because one may lie within another.

        A subdot that the target does not have is left as it is, together with the directories that lead to it. In a tree the
        restore of `__root__` removes it.
        """

    def sync_restored(self, entry_id: EntryId) -> None:
        """Make the restored files durable, and remember their time stamps. The datastores may start meanwhile."""

    def end_restore(self, entry_id: EntryId) -> None:
        """Carry out the journalled move, if there is one, and close the entry, in one transaction.

        If the head is then another commit than the one whose files were restored, the marks of `mark_quiet` are removed. The
        restored files count as uncommitted.
        """

    # Switches, sessions, and the journal

    def begin_switch(self, dot: DotName, worktree: WorktreeName, stopped: Sequence[str], action: str) -> EntryId:
        """Journal that the dot's volumes are about to follow another worktree. Return the id of the entry.

        `stopped` are the ids of the containers that go down for it. `close_entry` closes the entry when they are up again.
        """

    def switch(self, entry_id: EntryId) -> None:
        """Have the dot's volumes follow the entry's worktree, and log it as the entry's `action`. Idempotent."""

    def begin_session(self, dot: DotName, worktree: WorktreeName, target: CommitId, owner: str | None = None) -> EntryId:
        """Journal that tests use the worktree, which goes back to `target` afterwards. Return the id of the entry.

        `owner` is the description that the caller gave of itself when it took the session's lock. The caller holds the lock
        `DOT.session` for as long as the session lives.
        """

    def close_entry(self, entry_id: EntryId) -> None:
        """Close the entry of a restore that has changed no file, or of a switch or session that has ended. Idempotent."""

    def unfinished(self, dot: DotName) -> list[JournalEntry]:
        """Return the operations that have begun and not ended. The oldest comes first.

        If the caller holds the dot's lock, their processes are dead. A session is the exception: its process holds
        `DOT.session` instead.
        """

    # Moving files and objects

    def export(self, dot: DotName, commit_id: CommitId, directory: str, subdot: SubdotName | None = None) -> None:
        """Write the subdots of a commit as directories below `directory`, or the files of one `subdot` into it.

        The directory is made if it is missing. ExistsError if it is not empty. Not atomic. Needs no lock.
        """

    def exchange(self) -> Exchange:
        """Return the part of the store that moves objects to and from other stores. Needs no lock."""
