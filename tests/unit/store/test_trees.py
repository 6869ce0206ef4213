"""Worktrees that are directories of the store, and subdots within the directories of others."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.commit import SWITCH, Worktree
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, ROOT_SUBDOT, CommitId, DotName, RefName, SubdotName, WorktreeName
from dm_compose.errors import DamagedError, ExistsError, InUseError, NotFoundError
from dm_compose.storage.capture import Capture
from tests.support import filesystems
from tests.support.filesystems import Mount
from tests.support.stores import DATA, DOT, Bench, Stores, TreeBench
from tests.support.trees import describe, differences

ROOT = ROOT_SUBDOT
DB, X = SubdotName("db"), SubdotName("x")
MASTER, FEATURE, OTHER = DEFAULT_BRANCH, RefName("feature"), RefName("other")
SECOND = WorktreeName("second")
NO_DOT = DotName("nope")


@pytest.fixture
def bench(stores: Stores, fast_path: Path) -> TreeBench:
    """A tree dot with files in its root and in one subdot, and no commit yet."""
    bench = stores.trees(fast_path / "store")
    (bench.top / "readme").write_text("root file")
    (bench.top / ".hidden").mkdir()
    (bench.top / ".hidden/file").write_text("not a subdot's name")
    db = Path(bench.store.make_subdot(DOT, MAIN_WORKTREE, DB))
    (db / "table").write_bytes(b"t" * 10_000)
    return bench


def state(bench: TreeBench) -> Any:
    return describe(bench.top)


def same(bench: TreeBench, wanted: Any) -> None:
    assert differences(wanted, state(bench)) == []


def told(diff: Any) -> dict[str, list[tuple[str, str]]]:
    return {str(s): [(c.path, c.how) for c in d.changes] for s, d in diff.items() if d}


def live(bench: TreeBench, base: CommitId | None) -> dict[str, list[tuple[str, str]]]:
    return told(bench.store.diff_live(DOT, bench.worktree, bench.directories, base, {}, None))


# A tree and its subdots


def test_a_new_tree_is_an_empty_directory_and_current(stores: Stores, fast_path: Path) -> None:
    bench = stores.trees(fast_path / "store")
    assert bench.store.worktree(DOT, MAIN_WORKTREE).tree
    assert bench.directories.keys() == {ROOT}
    assert list(bench.top.iterdir()) == []
    assert bench.store.current(DOT) == MAIN_WORKTREE
    assert pointed_to(fast_path) == bench.top
    assert bench.head is None


def pointed_to(path: Path) -> Path:
    """Return where paths that follow the current worktree of the dot lead."""
    return (path / "store/trees/shop/.current").resolve()


def test_directories_with_a_subdots_name_are_subdots_and_all_else_is_the_roots(bench: TreeBench) -> None:
    outside = bench.top.parent
    for name in ("x", "__default__", "a.b-c_d", "9"):
        (bench.top / name).mkdir()
    for name in ("_x", "__root__", "lost+found", "with space", "-x", "x" * 101, os.fsdecode(b"\xff")):
        (bench.top / name).mkdir()
    (bench.top / "file").touch()
    (bench.top / "link").symlink_to(outside)
    os.mkfifo(bench.top / "fifo")
    assert bench.directories.keys() == {ROOT, DB, "x", "__default__", "a.b-c_d", "9"}
    assert all(Path(path) == bench.top / ("" if name == ROOT else name) for name, path in bench.directories.items())
    commit = bench.commit()
    assert set(bench.store.commit(DOT, commit).subdots) == set(bench.directories)
    wanted = state(bench)
    for path in bench.top.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    bench.restore(commit)
    same(bench, wanted)


def test_a_subdot_is_made_empty_once(bench: TreeBench) -> None:
    path = bench.store.make_subdot(DOT, MAIN_WORKTREE, X)
    assert path == str(bench.top / "x")
    assert list(Path(path).iterdir()) == []
    (Path(path) / "file").touch()
    assert bench.store.make_subdot(DOT, MAIN_WORKTREE, X) == path
    assert (Path(path) / "file").exists()
    assert bench.store.make_subdot(DOT, MAIN_WORKTREE, ROOT) == str(bench.top)


def test_a_subdot_of_what_is_no_tree_is_not_made(bench: TreeBench, fast_path: Path) -> None:
    plain = DotName("plain")
    bench.store.create_dot(plain)
    for dot, worktree in ((NO_DOT, MAIN_WORKTREE), (DOT, SECOND), (plain, MAIN_WORKTREE)):
        with pytest.raises(NotFoundError, match=dot):
            bench.store.make_subdot(dot, worktree, X)
        with pytest.raises(NotFoundError, match=dot):
            bench.store.tree(dot, worktree)
    assert sorted(p.name for p in (fast_path / "store/trees").iterdir()) == ["shop"]
    assert not (fast_path / "store/trees/shop/second").exists()


@pytest.mark.parametrize("what", ["file", "link", "dangling link"])
def test_no_subdot_is_made_where_something_else_is(bench: TreeBench, fast_path: Path, what: str) -> None:
    """A container that may write to the root must not get the host's directories as volumes."""
    outside = fast_path / "outside"
    if what == "file":
        (bench.top / "x").write_text("mine")
    else:
        (bench.top / "x").symlink_to(outside)
    if what == "link":
        outside.mkdir()
    with pytest.raises(ExistsError, match="x"):
        bench.store.make_subdot(DOT, MAIN_WORKTREE, X)
    assert outside.exists() == (what == "link")


def test_a_tree_whose_directory_is_lost_can_be_looked_at_and_restored(bench: TreeBench) -> None:
    commit = bench.commit()
    wanted = state(bench)
    shutil.rmtree(bench.top)
    assert bench.directories == {ROOT: str(bench.top)}
    assert sorted(bench.store.differing(DOT, MAIN_WORKTREE, bench.directories, commit)) == [ROOT, DB]
    bench.restore(commit)
    same(bench, wanted)


def test_a_dot_that_exists_is_not_touched_by_making_it_again(bench: TreeBench, fast_path: Path) -> None:
    commit = bench.commit()
    bench.store.add_worktree(Worktree(DOT, SECOND, FEATURE, None, tree=True), commit)
    switch_to(bench, SECOND)
    plain = DotName("plain")
    bench.store.create_dot(plain)
    before = describe(fast_path / "store/trees")
    for dot in (DOT, plain):
        for tree in (True, False):
            with pytest.raises(ExistsError):
                bench.store.create_dot(dot, tree=tree)
    assert differences(before, describe(fast_path / "store/trees")) == []
    assert pointed_to(fast_path) == bench.top.parent / "second"


# Commits and restores of whole trees


def fill_nothing(path: Path) -> None:
    pass


def fill_file(path: Path) -> None:
    path.write_bytes(b"a file" * 1000)


def fill_other_file(path: Path) -> None:
    path.write_bytes(b"other" * 1200)
    path.chmod(0o600)


def fill_link(path: Path) -> None:
    path.symlink_to("../../../outside")


def fill_fifo(path: Path) -> None:
    os.mkfifo(path)


def fill_empty(path: Path) -> None:
    path.mkdir()


def fill_subdot(path: Path) -> None:
    path.mkdir(mode=0o700)
    (path / "deep").mkdir()
    (path / "deep/file").write_bytes(b"in a subdot" * 500)
    os.link(path / "deep/file", path / "same")


def fill_other_subdot(path: Path) -> None:
    path.mkdir()
    (path / "deep").write_bytes(b"a file instead of a directory")
    (path / "more").mkdir()


SHAPES: list[Callable[[Path], None]] = [
    *(fill_nothing, fill_file, fill_other_file, fill_link, fill_fifo, fill_empty, fill_subdot, fill_other_subdot)
]


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def restore_root_first(bench: TreeBench, entry: CommitId, subdots: list[SubdotName]) -> None:
    for subdot in sorted(subdots, key=lambda s: s != ROOT):
        bench.store.restore(entry, subdot, bench.directories)


def restore_root_last(bench: TreeBench, entry: CommitId, subdots: list[SubdotName]) -> None:
    for subdot in sorted(subdots, key=lambda s: s == ROOT):
        bench.store.restore(entry, subdot, bench.directories)


def restore_at_once(bench: TreeBench, entry: CommitId, subdots: list[SubdotName]) -> None:
    directories = bench.directories
    with ThreadPoolExecutor(8) as pool:
        for job in [pool.submit(bench.store.restore, entry, subdot, directories) for subdot in subdots]:
            job.result()


def restored(bench: TreeBench, target: CommitId, how: Callable[[TreeBench, CommitId, list[SubdotName]], None]) -> None:
    entry = bench.begin(target, move=True)
    how(bench, entry, sorted({*bench.directories, *bench.store.commit(DOT, target).subdots}))
    bench.store.sync_restored(entry)
    bench.store.end_restore(entry)


@pytest.mark.parametrize(
    ("how", "index"),
    [(restore_root_first, True), (restore_root_last, True), (restore_root_last, False), (restore_at_once, True)],
)
def test_whatever_became_of_a_name_in_the_root_every_commit_comes_back(
    local: Stores, fast_path: Path, how: Callable[[TreeBench, CommitId, list[SubdotName]], None], index: bool
) -> None:
    outside = fast_path / "store/outside"
    bench = local.trees(fast_path / "store")
    outside.mkdir()
    (outside / "precious").write_text("somebody else's")
    (bench.top / "y").mkdir()
    (bench.top / "y/unchanged").write_bytes(b"unchanged" * 1000)
    foreign = describe(outside)
    commits = []
    for fill in SHAPES:
        remove(bench.top / "x")
        fill(bench.top / "x")
        commits.append((bench.commit(), state(bench), fill.__name__))
    restored(bench, commits[0][0], how)
    journey = [visit for one, two in itertools.combinations(commits, 2) for visit in (one, two, one)]  # every way there is
    for (_, _, before), (commit, wanted, after) in itertools.pairwise(journey):
        if not index:
            shutil.rmtree(fast_path / "store/index")
        what = f"from {before} to {after}"
        assert bench.differing(commit) or before == after, what
        restored(bench, commit, how)
        assert differences(wanted, state(bench)) == [], what
        assert bench.differing(commit) == [], what
        assert live(bench, commit) == {}, what
        assert differences(foreign, describe(outside)) == [], what


def test_new_and_vanished_subdots_are_told_committed_and_restored(bench: TreeBench) -> None:
    first = bench.commit()
    one = state(bench)
    shutil.rmtree(bench.top / "db")
    (bench.top / "x").mkdir()
    (bench.top / "x/file").write_text("x")
    assert live(bench, first) == {
        "db": [("", "removed"), ("table", "removed")],
        "x": [("", "added"), ("file", "added")],
    }
    assert {DB, X} <= set(bench.differing(first)), "who uses a subdot that a restore makes or removes must know"
    commit_id, _ = bench.capture()
    assert sorted(bench.store.captured_changes(commit_id, {})) == [DB, X]
    second = bench.publish(commit_id)
    two = state(bench)
    assert set(bench.store.commit(DOT, second).subdots) == {ROOT, X}
    assert told(bench.store.diff_commits(DOT, first, second, {})).keys() == {"db", "x"}
    bench.restore(first)
    same(bench, one)
    bench.restore(second)
    same(bench, two)


def test_a_file_in_the_root_that_becomes_a_subdot_is_told_in_both(bench: TreeBench) -> None:
    (bench.top / "x").write_text("file")
    first = bench.commit()
    (bench.top / "x").unlink()
    (bench.top / "x").mkdir()
    assert live(bench, first) == {ROOT: [("x", "removed")], "x": [("", "added")]}
    assert {ROOT, X} <= set(bench.differing(first))
    commit_id, _ = bench.capture()
    assert sorted(bench.store.captured_changes(commit_id, {})) == [ROOT, X]
    second = bench.publish(commit_id)
    assert told(bench.store.diff_commits(DOT, second, first, {})) == {ROOT: [("x", "added")], "x": [("", "removed")]}


def test_what_a_subdot_holds_is_no_change_of_the_root(bench: TreeBench) -> None:
    first = bench.commit()
    (bench.top / "db/table").write_bytes(b"changed")
    (bench.top / "db/readme").touch()
    assert live(bench, first).keys() == {"db"}
    assert bench.differing(first) == [DB]
    commit_id, captured = bench.capture()
    assert bench.store.captured_changes(commit_id, {}) == [DB]
    assert captured.new_bytes == 7
    second = bench.store.commit(DOT, bench.publish(commit_id))
    assert second.subdots[ROOT].manifest == bench.store.commit(DOT, first).subdots[ROOT].manifest


MEANWHILE: dict[str, Callable[[Path], object]] = {
    "removed": lambda top: shutil.rmtree(top / "db"),
    "a file": lambda top: (shutil.rmtree(top / "db"), fill_file(top / "db")),
    "a link": lambda top: (shutil.rmtree(top / "db"), fill_link(top / "db")),
    "made anew": lambda top: (shutil.rmtree(top / "db"), fill_subdot(top / "db")),
    "renamed": lambda top: (top / "db").rename(top / "x"),
    "hidden": lambda top: (top / "db").rename(top / "_hidden"),
    "shown": lambda top: (top / ".hidden").rename(top / "x"),
    "file renamed": lambda top: (top / "readme").rename(top / "x"),
    "new": lambda top: fill_subdot(top / "x"),
    "new for a file": lambda top: ((top / "readme").unlink(), fill_subdot(top / "readme")),
}


@pytest.mark.parametrize("step", ["prepare", "copy", "capture"])
@pytest.mark.parametrize("change", MEANWHILE.values(), ids=MEANWHILE)
def test_subdots_that_come_and_go_while_a_commit_is_prepared_are_in_it_as_they_are_when_it_is_captured(
    local: Stores, fast_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], step: str
) -> None:
    bench = local.trees(fast_path / "store")
    for fill, path in ((fill_file, "readme"), (fill_subdot, ".hidden"), (fill_subdot, "db")):
        fill(bench.top / path)
    before = bench.commit()
    (bench.top / "db/new").write_bytes(b"copied early" * 100)
    (bench.top / "readme").write_bytes(b"copied early" * 100)
    directories = bench.directories
    if step == "prepare":
        change(bench.top)
    elif step == "copy":
        original = Capture.prepare

        def prepare(capture: Capture, progress: Callable[[int], None]) -> None:
            if Path(capture.root).name == "db":
                change(bench.top)
            original(capture, progress)

        monkeypatch.setattr(Capture, "prepare", prepare)
    commit_id = bench.store.prepare_commit(DOT, MAIN_WORKTREE, directories)
    if step == "capture":
        change(bench.top)
    wanted, subdots = state(bench), set(bench.directories)
    bench.store.capture(commit_id)
    assert bench.store.captured_changes(commit_id, {})
    commit = bench.publish(commit_id)
    assert set(bench.store.commit(DOT, commit).subdots) == subdots
    assert bench.differing(commit) == []
    objects = {p.name for p in (fast_path / "store/objects" / commit).iterdir()}
    bench.restore(before)
    bench.restore(commit)
    same(bench, wanted)
    bench.store.collect(datetime.now(UTC) + timedelta(hours=1))
    assert {p.name for p in (fast_path / "store/objects" / commit).iterdir()} == objects, "no early copy was left in it"


def test_an_empty_tree_is_restored_as_an_empty_tree(stores: Stores, fast_path: Path) -> None:
    bench = stores.trees(fast_path / "store")
    empty = bench.commit()
    wanted = state(bench)
    (bench.top / "x").mkdir()
    (bench.top / "file").touch()
    bench.commit()
    bench.restore(empty)
    same(bench, wanted)


def test_ignored_paths_and_quiet_marks_go_by_subdot(bench: TreeBench) -> None:
    first = bench.commit()
    bench.store.mark_quiet(DOT, MAIN_WORKTREE, bench.directories)
    assert bench.store.changed_since_quiet(DOT, MAIN_WORKTREE, bench.directories, {}) == []
    (bench.top / "db/pid").touch()
    assert bench.store.changed_since_quiet(DOT, MAIN_WORKTREE, bench.directories, {}) == [DB]
    assert bench.store.changed_since_quiet(DOT, MAIN_WORKTREE, bench.directories, {DB: ["pid"], ROOT: ["*"]}) == []
    assert told(bench.store.diff_live(DOT, MAIN_WORKTREE, bench.directories, first, {DB: ["pid"]}, None)) == {}


# Worktrees


def add(bench: TreeBench, start: CommitId, branch: RefName = FEATURE, name: WorktreeName = SECOND) -> TreeBench:
    bench.store.add_worktree(Worktree(DOT, name, branch, None, tree=True), start)
    return TreeBench(bench.store, name)


def test_a_new_tree_is_filled_with_its_commit(bench: TreeBench) -> None:
    first = bench.commit()
    wanted = state(bench)
    (bench.top / "db/table").write_bytes(b"later")
    bench.commit()
    second = add(bench, first)
    same(second, wanted)
    assert (second.branch, second.head) == (FEATURE, first)
    assert second.differing(first) == []
    assert live(second, first) == {}


def test_what_is_in_a_new_tree_is_known_without_reading_or_copying_it(bench: TreeBench) -> None:
    first = bench.commit()
    second = add(bench, first)
    commit_id, captured = second.capture()
    assert (captured.new_bytes, captured.copied_bytes) == (0, 0)
    made = second.store.commit(DOT, second.publish(commit_id))
    assert made.parent == first
    before = second.store.commit(DOT, first)
    assert {s: v.manifest for s, v in made.subdots.items()} == {s: v.manifest for s, v in before.subdots.items()}


def test_a_new_tree_is_filled_with_the_uncommitted_state_of_its_branch(bench: TreeBench) -> None:
    first = bench.commit()
    (bench.top / "db/table").write_bytes(b"uncommitted")
    (bench.top / "x").mkdir()
    wanted = state(bench)
    saved = bench.checkout(OTHER, first)
    assert bench.store.uncommitted(DOT) == {MASTER: saved}
    second = add(bench, first, MASTER)
    same(second, wanted)
    assert (second.branch, second.head) == (MASTER, first)
    assert bench.store.uncommitted(DOT) == {}
    assert live(second, first).keys() == {"db", "x"}


def test_a_tree_on_an_old_branch_is_filled_with_its_head_wherever_it_is_said_to_start(bench: TreeBench) -> None:
    first = bench.commit()
    (bench.top / "db/table").write_bytes(b"later")
    head = bench.commit()
    wanted = state(bench)
    bench.store.add_branch(DOT, FEATURE, head)
    second = add(bench, first)
    assert (second.branch, second.head) == (FEATURE, head)
    same(second, wanted)
    assert second.differing(head) == []


def test_trees_do_not_share_files(bench: TreeBench) -> None:
    first = bench.commit()
    wanted = state(bench)
    second = add(bench, first)
    (second.top / "db/table").write_bytes(b"changed")
    made = second.commit()
    same(bench, wanted)
    assert bench.differing(first) == []
    bench.restore(made)
    assert (bench.top / "db/table").read_bytes() == b"changed"


def test_a_tree_that_cannot_be_added_leaves_nothing(bench: TreeBench, fast_path: Path) -> None:
    first = bench.commit()
    with pytest.raises(InUseError):
        add(bench, first, MASTER)
    with pytest.raises(NotFoundError):
        add(bench, CommitId("0" * 32))
    with pytest.raises(ExistsError):
        add(bench, first, FEATURE, MAIN_WORKTREE)
    for path in (fast_path / "store/objects").rglob("*"):
        if path.is_file() and path.suffix != ".manifest":
            path.unlink()
    with pytest.raises(DamagedError):
        add(bench, first)
    assert bench.store.worktrees(DOT).keys() == {MAIN_WORKTREE}
    assert bench.store.branches(DOT).keys() == {MASTER}
    assert [p.name for p in bench.top.parent.iterdir() if not p.is_symlink()] == ["main"]
    assert list((fast_path / "store/incoming").iterdir()) == []


def test_a_removed_tree_is_gone_and_can_be_made_again(bench: TreeBench, fast_path: Path) -> None:
    first = bench.commit()
    second = add(bench, first)
    (second.top / "db/table").write_bytes(b"changed")
    made = second.commit()
    (second.top / "dirt").touch()
    bench.store.remove_worktree(DOT, SECOND)
    assert not (bench.top.parent / "second").exists()
    assert not (fast_path / "store/index/shop/second").exists()
    assert list((fast_path / "store/incoming").iterdir()) == []
    again = add(bench, made)
    assert (again.top / "db/table").read_bytes() == b"changed"
    assert again.differing(made) == []
    assert not (again.top / "dirt").exists()


def test_a_tree_that_nobody_registered_is_replaced(bench: TreeBench) -> None:
    """A killed command may have left it."""
    first = bench.commit()
    wanted = state(bench)
    (bench.top.parent / "second/db").mkdir(parents=True)
    (bench.top.parent / "second/db/old").touch()
    same(add(bench, first), wanted)


def test_a_worktree_that_is_no_tree_can_stand_beside_trees(bench: TreeBench) -> None:
    first = bench.commit()
    bench.store.add_worktree(Worktree(DOT, SECOND, FEATURE, None, {DB: "volume"}, "project"), first)
    assert not (bench.top.parent / "second").exists()
    bench.store.remove_worktree(DOT, SECOND)


# Switching


def switch_to(bench: TreeBench, name: WorktreeName) -> None:
    entry = bench.store.begin_switch(DOT, name, [], f"checkout {name}")
    bench.store.switch(entry)
    bench.store.close_entry(entry)


def test_a_switch_has_the_volumes_follow_another_worktree_and_is_logged_there(bench: TreeBench, fast_path: Path) -> None:
    first = bench.commit()
    second = add(bench, first)
    made = second.commit()
    entry = bench.store.begin_switch(DOT, SECOND, ["c1", "c2"], "checkout feature")
    (journal,) = bench.store.unfinished(DOT)
    assert (journal.id, journal.operation, journal.worktree, journal.stopped) == (entry, SWITCH, SECOND, ("c1", "c2"))
    assert journal.move.action == "checkout feature"
    assert bench.store.current(DOT) == MAIN_WORKTREE
    for _ in range(2):
        bench.store.switch(entry)
        assert bench.store.current(DOT) == SECOND
        assert pointed_to(fast_path) == second.top
    bench.store.close_entry(entry)
    assert bench.store.unfinished(DOT) == []
    (newest, *_) = log = bench.store.reflog(DOT, SECOND)
    assert [e.action for e in log] == ["checkout feature", "commit"]
    assert (newest.left, newest.branch, newest.old, newest.new, newest.saved) == (MASTER, FEATURE, first, made, None)
    assert [e.action for e in bench.store.reflog(DOT, MAIN_WORKTREE)] == ["commit"]


def test_a_switch_touches_no_file_and_no_branch(bench: TreeBench) -> None:
    first = bench.commit()
    second = add(bench, first)
    (bench.top / "dirt").touch()
    (second.top / "other dirt").touch()
    one, two, branches = state(bench), state(second), bench.store.branches(DOT)
    for name in (SECOND, MAIN_WORKTREE, SECOND):
        switch_to(bench, name)
    same(bench, one)
    same(second, two)
    assert bench.store.branches(DOT) == branches
    assert bench.store.uncommitted(DOT) == {}


def test_a_switch_to_where_the_volumes_are_moves_and_logs_nothing(bench: TreeBench) -> None:
    bench.commit()
    before = bench.store.reflog(DOT, MAIN_WORKTREE)
    switch_to(bench, MAIN_WORKTREE)
    assert bench.store.reflog(DOT, MAIN_WORKTREE) == before


def test_a_cancelled_switch_has_not_happened(bench: TreeBench, fast_path: Path) -> None:
    second = add(bench, bench.commit())
    entry = bench.store.begin_switch(DOT, SECOND, [], "checkout")
    for _ in range(2):
        bench.store.close_entry(entry)
    assert bench.store.current(DOT) == MAIN_WORKTREE
    assert pointed_to(fast_path) == bench.top
    assert second.store.reflog(DOT, SECOND) == []


def test_the_current_and_the_main_tree_cannot_be_removed(bench: TreeBench) -> None:
    add(bench, bench.commit())
    switch_to(bench, SECOND)
    for name, word in ((SECOND, "current"), (MAIN_WORKTREE, "main")):
        with pytest.raises(InUseError, match=word):
            bench.store.remove_worktree(DOT, name)
    switch_to(bench, MAIN_WORKTREE)
    bench.store.remove_worktree(DOT, SECOND)


def test_a_removed_branch_is_noted_in_the_worktree_that_is_current(bench: TreeBench) -> None:
    first = bench.commit()
    add(bench, first)
    switch_to(bench, SECOND)
    bench.store.add_branch(DOT, OTHER, first)
    bench.store.remove_branch(DOT, OTHER)
    assert bench.store.reflog(DOT, SECOND)[0].action == "branch -d other"
    assert "branch -d other" not in [e.action for e in bench.store.reflog(DOT, MAIN_WORKTREE)]


# Power cuts


def test_trees_survive_a_power_cut_as_they_were_when_a_call_returned(local: Stores, disk: Mount) -> None:
    bench = local.trees(disk.path / "store")
    db = Path(bench.store.make_subdot(DOT, MAIN_WORKTREE, DB))
    (db / "table").write_bytes(os.urandom(100_000))
    first = bench.commit()
    wanted = state(bench)
    add(bench, first)
    add(bench, first, OTHER, WorktreeName("third"))
    switch_to(bench, SECOND)
    bench.store.remove_worktree(DOT, WorktreeName("third"))
    bench.store.make_subdot(DOT, MAIN_WORKTREE, X)
    kept = DotName("kept")
    bench.store.create_dot(kept, tree=True)
    with filesystems.mounted(disk.power_cut()) as after:
        revived = local.trees(after.path / "store", SECOND)
        assert revived.store.current(DOT) == SECOND
        assert (after.path / "store/trees/shop/.current").resolve() == revived.top
        assert revived.store.worktrees(DOT).keys() == {MAIN_WORKTREE, SECOND}
        same(revived, wanted)
        assert revived.differing(first) == []
        assert revived.store.tree(DOT, MAIN_WORKTREE).keys() == {ROOT, DB, X}
        assert list(Path(revived.store.tree(kept, MAIN_WORKTREE)[ROOT]).iterdir()) == []
        assert (after.path / "store/trees/kept/.current").is_symlink()
        assert revived.store.check({}, repair=False).sound
        local.close()


def test_a_commit_after_gc_and_a_repair_survive_a_power_cut(local: Stores, disk: Mount) -> None:
    bench = local.trees(disk.path / "store")
    (bench.top / "file").write_bytes(os.urandom(100_000))
    (bench.top / "twin").write_bytes((bench.top / "file").read_bytes())
    hidden = bench.aside()
    bench.store.collect(datetime.now(UTC) + timedelta(hours=1))
    commit = bench.commit()
    wanted = state(bench)
    bench.store.check({}, repair=False)
    lost = disk.path / "store/objects" / commit / "1"
    lost.unlink()
    assert bench.store.check({}, repair=True).sound
    with filesystems.mounted(disk.power_cut()) as after:
        revived = local.trees(after.path / "store")
        assert not (after.path / "store/objects" / hidden).exists()
        assert revived.store.check({}, repair=False).damage == ()
        shutil.rmtree(revived.top)
        revived.restore(commit)
        same(revived, wanted)
        local.close()


# Deleting a dot


def test_a_deleted_dot_takes_its_trees_along(bench: TreeBench, fast_path: Path) -> None:
    first = bench.commit()
    add(bench, first)
    kept = DotName("kept")
    bench.store.create_dot(kept, tree=True)
    bench.store.delete_dot(DOT)
    assert [p.name for p in (fast_path / "store/trees").iterdir()] == ["kept"]
    assert not (fast_path / "store/index/shop").exists()
    assert list((fast_path / "store/incoming").iterdir()) == []
    bench.store.create_dot(DOT, tree=True)
    assert bench.directories.keys() == {ROOT}
    assert list(bench.top.iterdir()) == []
    assert pointed_to(fast_path) == bench.top
    (bench.top / "file").touch()
    wanted = state(bench)
    again = bench.commit()
    (bench.top / "file").unlink()
    bench.restore(again)
    same(bench, wanted)


def test_a_dot_made_where_a_killed_deletion_left_a_tree_begins_empty(bench: TreeBench, fast_path: Path) -> None:
    bench.commit()
    old = fast_path / "old"
    shutil.copytree(fast_path / "store/trees/shop", old, symlinks=True)
    for tree in (False, True):
        bench.store.delete_dot(DOT)
        (fast_path / "store/trees").mkdir(exist_ok=True)
        shutil.copytree(old, fast_path / "store/trees/shop", symlinks=True)
        bench.store.create_dot(DOT, tree=tree)
        assert not (fast_path / "store/trees/shop/main/readme").exists()
    assert bench.directories.keys() == {ROOT}


# Export


def test_an_exported_commit_is_what_was_committed(bench: TreeBench, fast_path: Path) -> None:
    first = bench.commit()
    wanted = state(bench)
    (bench.top / "db/table").unlink()
    bench.commit()
    bench.store.export(DOT, first, str(fast_path / "deep/export"))
    assert differences(wanted, describe(fast_path / "deep/export")) == []


def test_subdots_of_volumes_are_exported_below_the_directory(stores: Stores, fast_path: Path) -> None:
    for name in ("data", "logs"):
        (fast_path / name).mkdir()
        (fast_path / name / "file").write_text(name)
    bench = stores.bench(fast_path / "store", data=fast_path / "data", logs=fast_path / "logs")
    commit = bench.commit()
    (fast_path / "export").mkdir()
    bench.store.export(DOT, commit, str(fast_path / "export"))
    for name in ("data", "logs"):
        assert differences(describe(fast_path / name), describe(fast_path / "export" / name)) == []
    assert sorted(p.name for p in (fast_path / "export").iterdir()) == ["data", "logs"]


def test_an_export_removes_nobodys_files(bench: TreeBench, fast_path: Path) -> None:
    commit = bench.commit()
    (fast_path / "home/db").mkdir(parents=True)
    (fast_path / "home/db/precious").write_text("mine")
    before = describe(fast_path / "home")
    with pytest.raises(ExistsError, match="home") as caught:
        bench.store.export(DOT, commit, str(fast_path / "home"))
    assert caught.value.hint
    assert differences(before, describe(fast_path / "home")) == []


def test_an_export_of_what_does_not_exist_makes_nothing(bench: TreeBench, fast_path: Path) -> None:
    commit = bench.commit()
    for dot, what in ((DOT, CommitId("0" * 32)), (NO_DOT, commit)):
        with pytest.raises(NotFoundError):
            bench.store.export(dot, what, str(fast_path / "export"))
    assert not (fast_path / "export").exists()


# Subdots within the directories of others


def nested(stores: Stores, path: Path, inner: str = "pg") -> Bench:
    """A stack that binds ./data and a directory in it."""
    (path / "data" / inner).mkdir(parents=True)
    (path / "data/file").write_text("outer")
    (path / "data" / inner / "table").write_text("inner")
    return stores.bench(path / "store", data=path / "data", pg=path / "data" / inner)


PG = SubdotName("pg")


@pytest.mark.parametrize("inner", ["pg", "a/b/pg"])
def test_a_subdot_in_anothers_directory_is_its_own(stores: Stores, fast_path: Path, inner: str) -> None:
    bench = nested(stores, fast_path, inner)
    first = bench.commit()
    wanted = describe(fast_path / "data")
    commit = bench.store.commit(DOT, first)
    assert (commit.subdots[DATA].files, commit.subdots[PG].files) == (1, 1)
    (fast_path / "data" / inner / "table").write_text("changed")
    (fast_path / "data" / inner / "new").touch()
    assert bench.differing(first) == [PG]
    assert told(bench.store.diff_live(DOT, MAIN_WORKTREE, bench.directories, first, {}, None)).keys() == {"pg"}
    commit_id, _ = bench.capture()
    assert bench.store.captured_changes(commit_id, {}) == [PG]
    second = bench.publish(commit_id)
    changed = describe(fast_path / "data")
    for target, tree in ((first, wanted), (second, changed)):
        bench.restore(target)
        assert differences(tree, describe(fast_path / "data")) == []
        assert bench.differing(target) == []


def test_restoring_the_outer_subdot_leaves_the_inner_one(stores: Stores, fast_path: Path) -> None:
    bench = nested(stores, fast_path)
    first = bench.commit()
    (fast_path / "data/file").write_text("changed")
    (fast_path / "data/pg/table").write_text("changed")
    entry = bench.begin(first)
    bench.store.restore(entry, DATA, bench.directories)
    bench.store.sync_restored(entry)
    bench.store.end_restore(entry)
    assert (fast_path / "data/file").read_text() == "outer"
    assert (fast_path / "data/pg/table").read_text() == "changed"


def test_a_directory_that_is_a_subdot_by_a_link_is_its_own_too(stores: Stores, fast_path: Path) -> None:
    """A volume's directory, or a bind source, may be reached through a symlink."""
    (fast_path / "data/pg").mkdir(parents=True)
    (fast_path / "data/pg/table").write_text("inner")
    (fast_path / "link").symlink_to("data")
    bench = stores.bench(fast_path / "store", data=fast_path / "data", pg=fast_path / "link/pg/")
    commit = bench.store.commit(DOT, bench.commit())
    assert (commit.subdots[DATA].files, commit.subdots[PG].files) == (0, 1)


@pytest.mark.parametrize("inner", ["pg", "a/b/pg"])
@pytest.mark.parametrize("before", ["nothing", "a directory", "a file", "a file above"])
def test_a_subdot_that_came_later_is_left_as_it_is_by_a_restore_to_before(
    local: Stores, fast_path: Path, inner: str, before: str
) -> None:
    bench = nested(local, fast_path, inner)
    bench.commit()
    shutil.rmtree(fast_path / "data" / inner.split("/")[0])
    if before == "a directory":
        (fast_path / "data" / inner).mkdir(parents=True)
        (fast_path / "data" / inner / "old").write_text("when it was no subdot yet")
        (fast_path / "data/z").mkdir()
        os.link(fast_path / "data" / inner / "old", fast_path / "data/z/same")
        os.link(fast_path / "data" / inner / "old", fast_path / "data/z/too")
    elif before == "a file":
        (fast_path / "data" / inner).parent.mkdir(parents=True, exist_ok=True)
        (fast_path / "data" / inner).write_text("a file")
    elif before == "a file above":
        (fast_path / "data" / inner.split("/")[0]).write_text("a file")
    bench.directories = {DATA: str(fast_path / "data")}
    old = bench.commit()
    remove(fast_path / "data" / inner.split("/")[0])
    (fast_path / "data" / inner).mkdir(parents=True)
    (fast_path / "data" / inner / "table").write_text("inner")
    (fast_path / "data/file").write_text("changed")
    shutil.rmtree(fast_path / "data/z", ignore_errors=True)
    bench.directories = {DATA: str(fast_path / "data"), PG: str(fast_path / "data" / inner)}
    bench.commit()
    kept = describe(fast_path / "data" / inner)
    for _ in range(2):
        bench.restore(old)
        assert (fast_path / "data/file").read_text() == "outer"
        assert differences(kept, describe(fast_path / "data" / inner)) == []
        assert bench.differing(old) == []
    if before == "a directory":
        assert (fast_path / "data/z/same").read_text() == "when it was no subdot yet"
        assert (fast_path / "data/z/same").samefile(fast_path / "data/z/too")
    bench.commit()


def test_a_subdot_that_went_is_restored_into_the_directory_that_held_it(stores: Stores, fast_path: Path) -> None:
    bench = nested(stores, fast_path)
    first = bench.commit()
    wanted = describe(fast_path / "data")
    del bench.directories[PG]
    second = bench.commit()
    assert bench.store.commit(DOT, second).subdots[DATA].files == 2
    (fast_path / "data/pg/table").write_text("changed")
    bench.restore(second)
    assert differences(wanted, describe(fast_path / "data")) == []
    bench.directories[PG] = str(fast_path / "data/pg")
    bench.restore(first)
    assert differences(wanted, describe(fast_path / "data")) == []
