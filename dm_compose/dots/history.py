"""A dot's history for people: commits with the names that they have now, and with their changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from dm_compose.core.commit import Commit, Verification
from dm_compose.core.names import CommitId, RefName, SubdotName
from dm_compose.core.tree import TreeDiff
from dm_compose.live.worktree import LiveWorktree


@dataclass(frozen=True)
class History:
    """Commits, newest first, and the names that commits of the dot have.

    `branch` is the branch that the worktree stands on. `verified` has the latest verification of each commit that was verified.
    """

    commits: tuple[Commit, ...]
    branch: RefName
    branches: Mapping[RefName, CommitId]
    tags: Mapping[RefName, CommitId]
    verified: Mapping[CommitId, Verification]

    def branches_at(self, commit: CommitId) -> list[RefName]:
        """Return the branches whose head a commit is. The current one comes first."""
        return sorted(
            (name for name, head in self.branches.items() if head == commit), key=lambda name: (name != self.branch, name)
        )

    def tags_of(self, commit: CommitId) -> list[RefName]:
        """Return the tags that a commit has."""
        return sorted(name for name, tagged in self.tags.items() if tagged == commit)


@dataclass(frozen=True)
class Shown:
    """One commit, the first of `history`, with its changes against its parent, per subdot: None without a parent in the store."""

    history: History
    changes: Mapping[SubdotName, TreeDiff] | None

    @property
    def commit(self) -> Commit:
        return self.history.commits[0]


def history(live: LiveWorktree, commits: Iterable[Commit]) -> History:
    """Return commits with all that is known of them now."""
    store, dot = live.store, live.dot
    return History(tuple(commits), live.state().branch, store.branches(dot), store.tags(dot), store.verifications(dot))


def whole_history(live: LiveWorktree) -> History:
    """Return the commits of all branches and tags."""
    found: dict[CommitId, Commit] = {}
    for head in {*live.store.branches(live.dot).values(), *live.store.tags(live.dot).values()}:
        if head not in found:
            found.update((commit.id, commit) for commit in live.store.log(live.dot, head))
    return history(live, sorted(found.values(), key=lambda commit: commit.created, reverse=True))


def shown(live: LiveWorktree, commit: Commit) -> Shown:
    """Return a commit with its changes. Every byte of files that differ is compared."""
    changes = None
    if commit.parent is not None and not commit.shallow:
        changes = live.store.diff_commits(live.dot, commit.parent, commit.id, live.ignore_patterns())
    return Shown(history(live, [commit]), changes)
