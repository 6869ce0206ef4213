"""Dots whose worktrees are directories of the store: what they hold, and what is done with them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from dm_compose.core.commit import Worktree
from dm_compose.core.names import DEFAULT_BRANCH, ROOT_SUBDOT, CommitId, DotName, RefName, SubdotName, WorktreeName
from tests.support.stores import DOT, TreeBench
from tests.support.trees import describe, differences

ROOT = ROOT_SUBDOT
DB, X = SubdotName("db"), SubdotName("x")
MASTER, FEATURE, OTHER = DEFAULT_BRANCH, RefName("feature"), RefName("other")
SECOND = WorktreeName("second")
NO_DOT = DotName("nope")


def state(bench: TreeBench) -> Any:
    return describe(bench.top)


def same(bench: TreeBench, wanted: Any) -> None:
    assert differences(wanted, state(bench)) == []


def told(diff: Any) -> dict[str, list[tuple[str, str]]]:
    return {str(s): [(c.path, c.how) for c in d.changes] for s, d in diff.items() if d}


def live(bench: TreeBench, base: CommitId | None) -> dict[str, list[tuple[str, str]]]:
    return told(bench.store.diff_live(DOT, bench.worktree, bench.directories, base, {}, None))


def pointed_to(path: Path) -> Path:
    """Return where paths that follow the current worktree of the dot lead."""
    return (path / "store/trees/shop/.current").resolve()


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def add(bench: TreeBench, start: CommitId, branch: RefName = FEATURE, name: WorktreeName = SECOND) -> TreeBench:
    bench.store.add_worktree(Worktree(DOT, name, branch, None, tree=True), start)
    return TreeBench(bench.store, name)


def switch_to(bench: TreeBench, name: WorktreeName) -> None:
    entry = bench.store.begin_switch(DOT, name, [], f"checkout {name}")
    bench.store.switch(entry)
    bench.store.close_entry(entry)
