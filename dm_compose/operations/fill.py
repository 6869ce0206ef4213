"""Put a commit's files where there is nothing that anybody needs.

Each function is journalled. If it is interrupted, the next command finishes it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from dm_compose.core.at_once import at_once
from dm_compose.core.commit import Commit, Move
from dm_compose.core.events import Listener
from dm_compose.core.names import MAIN_WORKTREE, ROOT_SUBDOT, CommitId, DotName, RefName, SubdotName, WorktreeName
from dm_compose.core.variables import DEFAULT_TIMEOUT_S, Variables
from dm_compose.engine import Engine
from dm_compose.live.access import open_access
from dm_compose.live.worktree import LiveWorktree
from dm_compose.operations.checks import tell_doubts
from dm_compose.operations.restore import RestoreReport, plan_to, put_in_place
from dm_compose.store.api import Store

FILLED_AT_ONCE = 4


def fill_live(
    live: LiveWorktree, target: Commit, action: str, branch: RefName, *, timeout_s: float = DEFAULT_TIMEOUT_S
) -> RestoreReport:
    """Put a commit's files into a stack's own volumes and stand on it. The caller holds the dot's lock."""
    began = time.monotonic()
    tell_doubts(live, target)
    live.record_places()
    plan = plan_to(live, target, live.differing(target.id))
    done = put_in_place(live, target.id, plan, Move(action, branch, target.id), previous=None, timeout_s=timeout_s)
    live.mark_quiet()
    return RestoreReport(target, plan, tuple(done), None, time.monotonic() - began)


def fill_volumes(
    engine: Engine,
    variables: Variables,
    listener: Listener,
    worktree: tuple[DotName, WorktreeName],
    places: Mapping[SubdotName, str],
    files: CommitId,
    move: Move,
) -> None:
    """Put a commit's files into the volumes of a new worktree. No container may use them yet."""
    access = open_access(engine, places.values(), variables, listener)
    try:
        store = access.store
        directories = {subdot: access.directory(place) for subdot, place in places.items()}
        entry = store.begin_restore(*worktree, files, [], move, None)
        at_once(lambda subdot: store.restore_subdot(entry, subdot, directories), list(directories), most=FILLED_AT_ONCE)
        store.sync_restored(entry)
        store.end_restore(entry)
    finally:
        access.store.close()


def fill_tree(store: Store, dot: DotName) -> None:
    """Put the files of a dot that was just cloned into its tree. The dot's journal says which commit they come from."""
    (entry,) = store.unfinished(dot)
    assert entry.target is not None
    subdots = store.commit(dot, entry.target).subdots
    for subdot in sorted(subdots, key=lambda s: s == ROOT_SUBDOT):  # the outer directory comes last: see LiveWorktree.inner
        store.restore_subdot(entry.id, subdot, store.tree(dot, MAIN_WORKTREE))
    store.sync_restored(entry.id)
    store.end_restore(entry.id)
