"""The part of the contract that looks after a store: what holds its space, what can go, and whether all of it is whole.

See dm_compose.store.api for what all methods of a store have in common.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from dm_compose.core.names import DotName, WorktreeName
from dm_compose.core.upkeep import Checkup, FileSystemProbe, Garbage, Holdings, Space
from dm_compose.store.history import Directories


class StoreUpkeep(Protocol):
    """Looking after a store. The caller holds the locks of all dots, unless the method says that it needs none."""

    def space(self) -> Space:
        """Return what the store takes, and how full its disk is. Quick, whatever the store holds. Needs no lock."""

    def holdings(self, keep_since: datetime | None) -> Holdings:
        """Return what holds the space of the store, and what `collect` would free. See `garbage` for `keep_since`.

        Every manifest and map is read. Needs no lock; DamagedError if one cannot be read, also because `collect` is at work.
        """

    def garbage(self, keep_since: datetime | None) -> Garbage:
        """Return the garbage that `collect` would free.

        A commit is kept if a branch, a tag, uncommitted state, an unfinished operation or a reflog entry names it, or if a kept
        commit descends from it or has it as its settled form. Of the reflog only entries since `keep_since` count. A clone,
        and a dot that is lent to tests, keep all of their commits; those of a clone stay in other dots too.

        Without `keep_since` those entries count that the budget of the store leaves: see core.upkeep. When they hold more than
        it allows, the oldest go, until an eighth of the budget is free. Of each worktree the newest entry stays in any case, and
        the newest that is no commit.
        """

    def collect(self, keep_since: datetime | None) -> Garbage:
        """Free the garbage and forget the other reflog entries. Return what was freed.

        Not atomic: a crash leaves garbage behind, but never a commit without its objects.
        """

    def is_undo_over_budget(self) -> bool:
        """Return whether it is time to `collect` without `keep_since`: the reflog may hold more than its budget.

        Quick, and an estimate: what is in no named commit may have grown by as much as the budget has left since the last
        collection, or the last one was a day ago and entries have become too old. Needs no lock.
        """

    def check(self, live: Mapping[DotName, Mapping[WorktreeName, Directories]], *, repair: bool) -> Checkup:
        """Read every manifest and object, and compare each with its digest. The first check of one records its digest.

        With `repair` a damaged object or manifest is replaced by another one with the same contents, or by a file of a `live`
        worktree that is proven to have them. Nothing is ever removed.
        """

    def probe(self, directories: Directories) -> FileSystemProbe:
        """Copy a scratch file, to see whether the store's file system can share blocks, and remove it. Needs no lock.

        The answer also says which of the `directories` are on the same file system.
        """
