"""Whole trees are committed and come back, subdots that came or went too."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dm_compose.core.names import MAIN_WORKTREE, CommitId, EntryId, SubdotName
from dm_compose.storage.capture import Capture, CopyRound
from tests.support.stores import DOT, Stores, TreeBench
from tests.support.trees import describe, differences
from tests.support.worktrees import DB, ROOT, X, live, remove, same, state, told


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


def restore_root_first(bench: TreeBench, entry: EntryId, subdots: list[SubdotName]) -> None:
    for subdot in sorted(subdots, key=lambda s: s != ROOT):
        bench.store.restore_subdot(entry, subdot, bench.directories)


def restore_root_last(bench: TreeBench, entry: EntryId, subdots: list[SubdotName]) -> None:
    for subdot in sorted(subdots, key=lambda s: s == ROOT):
        bench.store.restore_subdot(entry, subdot, bench.directories)


def restore_at_once(bench: TreeBench, entry: EntryId, subdots: list[SubdotName]) -> None:
    directories = bench.directories
    with ThreadPoolExecutor(8) as pool:
        for job in [pool.submit(bench.store.restore_subdot, entry, subdot, directories) for subdot in subdots]:
            job.result()


def restored(bench: TreeBench, target: CommitId, how: Callable[[TreeBench, EntryId, list[SubdotName]], None]) -> None:
    entry = bench.begin(target, move=True)
    how(bench, entry, sorted({*bench.directories, *bench.store.commit(DOT, target).subdots}))
    bench.store.sync_restored(entry)
    bench.store.end_restore(entry)


@pytest.mark.parametrize(
    ("how", "index"),
    [(restore_root_first, True), (restore_root_last, True), (restore_root_last, False), (restore_at_once, True)],
)
def test_whatever_became_of_a_name_in_the_root_every_commit_comes_back(
    local: Stores, fast_path: Path, how: Callable[[TreeBench, EntryId, list[SubdotName]], None], index: bool
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
    commit_id, _ = bench.capture()
    assert bench.store.captured_changes(commit_id, {}) == [DB]
    second = bench.store.commit(DOT, bench.publish(commit_id))
    assert second.new_bytes == 7
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

        def prepare(capture: Capture, progress: Callable[[int], None]) -> CopyRound:
            if Path(capture.root.path).name == "db":
                change(bench.top)
            return original(capture, progress)

        monkeypatch.setattr(Capture, "prepare", prepare)
    entry = bench.store.prepare_commit(DOT, MAIN_WORKTREE, directories)
    if step == "capture":
        change(bench.top)
    wanted, subdots = state(bench), set(bench.directories)
    bench.store.capture(entry)
    assert bench.store.captured_changes(entry, {})
    commit = bench.publish(entry)
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
