"""Dots of trees, made through the store: commits and branches without any stack."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dm_compose.core.commit import CommitDraft
from dm_compose.core.names import MAIN_WORKTREE, CommitId, DotName, RefName, SubdotName, WorktreeName
from dm_compose.store.api import Store


def write(store: Store, dot: DotName, files: Mapping[str, str], worktree: WorktreeName = MAIN_WORKTREE) -> None:
    """Write `SUBDOT/FILE` in a worktree."""
    for place, text in files.items():
        subdot, _, name = place.partition("/")
        (Path(store.make_subdot(dot, worktree, SubdotName(subdot))) / name).write_text(text)


def commit(store: Store, dot: DotName, worktree: WorktreeName = MAIN_WORKTREE) -> CommitId:
    """Commit a worktree that nobody writes to."""
    entry = store.prepare_commit(dot, worktree, store.tree(dot, worktree))
    store.capture(entry)
    return store.publish(entry, CommitDraft("c", "tester")).id


def dot_with_branches(store: Store, dot: DotName, *branches: str) -> CommitId:
    """Make a dot whose subdot `db` has a file with the text `seed` in its first commit, which all the branches stand on."""
    store.create_dot(dot, tree=True)
    write(store, dot, {"db/file": "seed"})
    made = commit(store, dot)
    for branch in branches:
        store.add_branch(dot, RefName(branch), made)
    return made


def switch(store: Store, dot: DotName, worktree: WorktreeName) -> None:
    """Have the dot's volumes follow a worktree, as a checkout does."""
    entry = store.begin_switch(dot, worktree, [], f"checkout {worktree}")
    store.switch(entry)
    store.close_entry(entry)
