"""The façade: one dot and its verbs. Subclasses know the places of its files."""

from __future__ import annotations

import abc
import contextlib
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from dm_compose.core.commit import Commit, ReflogEntry, Worktree
from dm_compose.core.containers import Container
from dm_compose.core.events import Event, Listener, ignore
from dm_compose.core.names import CommitId, DotName, RefName, SubdotName, WorktreeName
from dm_compose.core.plan import Plan
from dm_compose.core.tree import TreeDiff
from dm_compose.core.variables import DEFAULT_TIMEOUT_S, Variables
from dm_compose.dots.history import History, Shown, history, shown, whole_history
from dm_compose.dots.status import Branch, Status, branches, changed_in_memory, status
from dm_compose.errors import DamagedError, NotFoundError
from dm_compose.live.observe import observe_tree
from dm_compose.live.ready import unready
from dm_compose.live.worktree import LiveWorktree, Member
from dm_compose.operations import stash as stashing
from dm_compose.operations import worktrees
from dm_compose.operations.branches import Arrival, Forgotten, arrive, drop_branches, drop_tags
from dm_compose.operations.checks import before_commit, before_reset, before_save
from dm_compose.operations.commit import CommitReport, await_to_commit, make_commit
from dm_compose.operations.left import seen_left
from dm_compose.operations.recovery import Use
from dm_compose.operations.restore import RestoreReport, move_to, plan_reset
from dm_compose.operations.uncommitted import save_uncommitted
from dm_compose.operations.undo import Undone, undo
from dm_compose.store.api import Store

_FIRST = datetime.min.replace(tzinfo=UTC)


def require_dot(store: Store, dot: DotName) -> None:
    """Raise NotFoundError for a dot that no commit has made yet."""
    if not store.has_dot(dot):
        raise NotFoundError(f"dot {dot} has no commit yet", hint='Make one: commit -m "seed".')


class Dot(abc.ABC):
    """One dot as its user works with it.

    Every call looks at the dot anew. Between calls no lock and no connection to the store is held. Every method may raise
    EngineError and StoreError. It first finishes the work that a killed command left unfinished.
    """

    def __init__(self, variables: Variables, listener: Listener = ignore) -> None:
        self.variables = variables
        self.listener = listener

    @property
    @abc.abstractmethod
    def name(self) -> DotName:
        """Name of the dot."""

    @abc.abstractmethod
    def live(
        self, *, lock: bool, use: Use = Use.WRITE, create: bool = False, make_volumes: bool = False
    ) -> contextlib.AbstractContextManager[LiveWorktree]:
        """Open the store, and look at the worktree with its containers.

        With `lock` the dot's lock is held meanwhile, and work that killed commands left is finished first, for the `use` that the
        caller makes of the worktree (see recovery.recover): InUseError if a test run has it. Without `lock` the caller only
        reads, and is warned of such work. `create` makes the dot if it does not exist. `make_volumes` makes the volumes of
        subdots that have none.
        """

    def commit(
        self,
        message: str,
        metadata: Mapping[str, str],
        *,
        stop: bool = False,
        even_unready: bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> CommitReport:
        """Commit all subdots atomically. The first commit makes the dot. See commit.make_commit.

        Datastores that run and are not ready are waited for, without the dot's lock; NotReadyError after `timeout_s`. With
        `even_unready` the commit is made at once, and notes them.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            with self.live(lock=True, create=True) as live:
                before_commit(live)
                found = unready(live)
                if even_unready or not found:
                    return make_commit(live, message, metadata, stop=stop, timeout_s=timeout_s, unready=found)
            with self.live(lock=False) as live:
                await_to_commit(live, deadline - time.monotonic())

    def reset(
        self,
        ref: str,
        *,
        hard: bool,
        any_version: bool = False,
        privileged: bool = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> RestoreReport:
        """Put the state of a commit back and stand on it. See restore.move_to.

        Without `hard`, UncommittedError if changes would be lost. Without `any_version`, VersionMismatchError. For `privileged`
        see checks.refuse_privileged.
        """
        with self.live(lock=True, use=Use.RESTORE, make_volumes=hard) as live:
            target = self._target(live, ref)
            before_reset(live, target, hard=hard, any_version=any_version, privileged=privileged)
            return move_to(live, target, "reset", timeout_s=timeout_s)

    def plan_reset(self, ref: str) -> Plan:
        """Return the plan of a `reset` now. Takes no lock and does nothing."""
        with self.live(lock=False) as live:
            return plan_reset(live, self._target(live, ref))

    def save(self, why: str) -> CommitId | None:
        """Keep uncommitted changes as a hidden commit that the reflog names. Return None if there are none."""
        with self.live(lock=True) as live:
            before_save(live)
            return save_uncommitted(live, why)

    def undo(self, *, hard: bool = False, only_commit: bool = False, timeout_s: float = DEFAULT_TIMEOUT_S) -> Undone:
        """Go back to the state before the last reset, checkout, pull or `up --from`, uncommitted changes included.

        The undo of an undo brings the later state back. Without `hard`, UncommittedError if commits were made since. With
        `only_commit` the last commit is taken back, and its state stays. See undo.
        """
        with self.live(lock=True, use=Use.RESTORE, make_volumes=not only_commit) as live:
            return undo(live, hard=hard, only_commit=only_commit, timeout_s=timeout_s)

    # Stashes

    def stash(
        self, message: str | None = None, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> tuple[stashing.Stashed, RestoreReport] | None:
        """Put uncommitted changes aside, and put the head's state in place. None if there are none. See operations.stash."""
        with self.live(lock=True, use=Use.RESTORE) as live:
            return stashing.stash(live, message, timeout_s=timeout_s)

    def stashes(self) -> list[stashing.Stashed]:
        """Return all stashes. The newest comes first."""
        with self.live(lock=False) as live:
            return stashing.stashes(live) if live.store.has_dot(live.dot) else []

    def pop(
        self, number: int | None = None, *, hard: bool = False, any_version: bool = False, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> tuple[stashing.Stashed, RestoreReport]:
        """Put a stash back as uncommitted changes, and forget it. See operations.stash."""
        with self.live(lock=True, use=Use.RESTORE, make_volumes=True) as live:
            return stashing.pop(live, number, hard=hard, any_version=any_version, timeout_s=timeout_s)

    def drop(self, number: int) -> stashing.Stashed:
        """Forget a stash, and return it. The reflog names its commit. NotFoundError."""
        with self.live(lock=True, use=Use.RECORD) as live:
            return stashing.drop(live, number)

    def status(self) -> Status:
        """Return the differences from the head. Nothing is stopped. Sizes of large changes are upper bounds (`exact`)."""
        with self.live(lock=False) as live:
            return status(live)

    def diff(self, base: str, other: str | None) -> Mapping[SubdotName, TreeDiff]:
        """Return the changes from `base` to `other`, or to the live state. Every byte of the files is compared.

        Changes that a datastore has in memory, and in no file yet, are not among them; a warning tells of them.
        """
        with self.live(lock=False) as live:
            patterns = live.ignore_patterns()
            first = self._target(live, base).id
            if other is not None:
                return live.store.diff_commits(live.dot, first, self._target(live, other).id, patterns)
            for name in sorted(changed_in_memory(live, seen_left(live.store, *live.where))):
                text = f"{name} has changes in memory that no file has yet, and they are not shown; a commit has them"
                self.listener(Event("warning", text))
            return live.diff(first, patterns, None)

    def log(self, ref: str | None = "HEAD") -> History:
        """Return a commit and its ancestors, newest first; without `ref` the commits of all branches and tags.

        A dot without commits has none.
        """
        with self.live(lock=False) as live:
            if ref is None:
                return whole_history(live)
            state = live.state()
            if ref in ("HEAD", state.branch) and state.head is None:
                return History((), state.branch, {}, {}, {})
            return history(live, live.store.log(live.dot, self._target(live, ref).id))

    def show(self, ref: str = "HEAD") -> Shown:
        """Return a commit with its changes against its parent."""
        with self.live(lock=False) as live:
            return shown(live, self._target(live, ref))

    def reflog(self) -> list[tuple[ReflogEntry, int | None]]:
        """Return the moves of the worktree, newest first, each with the bytes on the disk that it holds: see EntryHeld.

        They are None, with a warning, if they cannot be told, for example because of damage.
        """
        with self.live(lock=False) as live:
            entries = live.store.reflog(live.dot, live.worktree)
            try:
                found = live.store.holdings(_FIRST).entries if entries else ()
            except DamagedError as error:
                self.listener(Event("warning", f"what the entries hold cannot be told: {error.message}; see `dm fsck`"))
                return [(entry, None) for entry in entries]
        held = {entry.number: entry.size_bytes for entry in found}
        return [(entry, held.get(entry.number, 0)) for entry in entries]

    @abc.abstractmethod
    def describe(self, container: Container, mounts: Mapping[SubdotName, bool], pinned: bool) -> Member:
        """Find out what a container runs and return it as a member of the dot."""

    def _observe_tree(self, live: LiveWorktree, worktree: Worktree) -> LiveWorktree:
        """Observe another worktree of the dot, a tree, over the same open store."""
        return observe_tree(live.access, live.engine, worktree, self.listener, self.describe)

    # Branches

    def branches(self) -> list[Branch]:
        """Return all branches by name. The current one is among them, also before its first commit."""
        with self.live(lock=False) as live:
            return branches(live)

    def checkout(
        self,
        ref: str,
        *,
        create: RefName | None = None,
        any_version: bool = False,
        privileged: bool = False,
        carry: bool | None = False,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> Arrival:
        """Check out a branch, or a new one (`create`) at a commit. With `carry` uncommitted changes come along.

        None for `carry` is for a new branch at the head, where nothing has to move. See branches.arrive.
        """
        with self.live(lock=True, use=Use.RESTORE, make_volumes=True) as live:
            if carry is None:
                carry = create is not None and not live.tree and live.state().head == self._target(live, ref).id
            return arrive(
                live, ref, create=create, any_version=any_version, privileged=privileged, carry=carry, timeout_s=timeout_s
            )

    def add_branch(self, name: RefName, ref: str = "HEAD") -> Commit:
        """Make a branch at a commit. The worktree stays on its own branch. ExistsError."""
        with self.live(lock=True, use=Use.RECORD) as live:
            target = self._target(live, ref)
            live.store.add_branch(live.dot, name, target.id)
            return target

    def remove_branches(self, words: Sequence[str], *, force: bool = False) -> Mapping[RefName, Forgotten]:
        """Forget branches, all of them or none. A word is a name or a pattern. The reflog names the commit with each last state.

        Without `force`, UncommittedError if the branch has commits that no other branch and no tag leads to, or an uncommitted
        state. If the branch has a tree of its own, the tree is removed, and its uncommitted changes are kept as a hidden commit.
        """
        with self.live(lock=True, use=Use.RECORD) as live:
            return drop_branches(live, self._observe_tree, words, force=force)

    # Worktrees

    def worktrees(self) -> list[Worktree]:
        """Return the worktrees of the dot, by name, each of volumes with its Compose project if that is known."""
        with self.live(lock=False) as live:
            return worktrees.listed(live)

    @abc.abstractmethod
    def add_worktree(self, name: WorktreeName, ref: str | None) -> Worktree:
        """Make a further worktree of the branch `ref`, or of a new branch of the worktree's name at the commit `ref`.

        The commit is by default the head. ExistsError; InUseError for a branch that is checked out.
        """

    @abc.abstractmethod
    def at_worktree(self, worktree: Worktree) -> Dot:
        """Return the dot as another of its worktrees shows it."""

    def remove_worktree(self, name: WorktreeName, *, force: bool = False) -> None:
        """Remove a worktree with its files. Its branch stays. See worktrees.remove."""
        with self.live(lock=False) as live:
            worktree = worktrees.find(live, name)
        with self.at_worktree(worktree).live(lock=True) as live:
            worktrees.remove(live, live.engine, force=force)

    # Tags

    def tags(self) -> Mapping[RefName, CommitId]:
        """Return the tags."""
        with self.live(lock=False) as live:
            return live.store.tags(live.dot)

    def add_tag(self, name: RefName, ref: str = "HEAD", *, move: bool = False) -> Commit:
        """Name a commit. ExistsError, unless the tag may `move`."""
        with self.live(lock=True, use=Use.RECORD) as live:
            target = self._target(live, ref)
            live.store.set_tag(live.dot, name, target.id, move=move)
            return target

    def remove_tags(self, words: Sequence[str]) -> Sequence[RefName]:
        """Forget tags, all of them or none, and return them. A word is a name or a pattern. NotFoundError."""
        with self.live(lock=True, use=Use.RECORD) as live:
            return drop_tags(live, words)

    def _target(self, live: LiveWorktree, ref: str) -> Commit:
        require_dot(live.store, live.dot)
        commit_id: CommitId = live.store.resolve(live.dot, live.worktree, ref)
        return live.store.commit(live.dot, commit_id)
