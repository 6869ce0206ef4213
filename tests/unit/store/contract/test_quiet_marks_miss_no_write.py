"""A write after the quiet mark is seen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.processes import child
from tests.support.stores import DATA, Bench, Stores
from tests.support.subdots import LOGS, directories, path_of, where


def test_a_subdot_without_a_mark_counts_as_changed(bench: Bench) -> None:
    assert sorted(bench.store.changed_since_quiet(*where(bench), {})) == [DATA, LOGS]


def test_nothing_has_changed_right_after_the_mark(bench: Bench) -> None:
    for number in range(20):
        (path_of(bench) / "one").write_bytes(b"%d" % number)  # an engine's own start, until just now
        bench.store.mark_quiet(*where(bench))
        assert bench.store.changed_since_quiet(*where(bench), {}) == []


@pytest.mark.parametrize("change", ["write", "same contents", "create", "delete", "chmod", "link"])
def test_whatever_is_written_after_the_mark_is_a_change(own: Bench, change: str) -> None:
    bench = own
    bench.store.mark_quiet(*where(bench))
    one = path_of(bench) / "one"
    if change == "write":
        one.write_bytes(b"changed")
    elif change == "same contents":
        one.write_bytes(one.read_bytes())
    elif change == "create":
        (path_of(bench) / "new").write_bytes(b"")
    elif change == "delete":
        one.unlink()
    elif change == "chmod":
        os.chmod(one, 0o640)
    else:
        os.link(one, path_of(bench) / "linked")
    assert bench.store.changed_since_quiet(*where(bench), {}) == [DATA]


def test_ignored_files_may_change_after_the_mark(bench: Bench) -> None:
    bench.store.mark_quiet(*where(bench))
    (path_of(bench) / "server.pid").write_bytes(b"1")
    assert bench.store.changed_since_quiet(*where(bench), {DATA: ["*.pid"]}) == []
    assert bench.store.changed_since_quiet(*where(bench), {DATA: ["other"]}) == [DATA]


def test_a_write_through_a_page_that_was_mapped_before_the_mark_is_a_change(stores: Stores, tmp_path: Path) -> None:
    """The second write to a page that has not been written back moves no time stamp. Needs a disk: tmpfs never moves any."""
    bench = stores.bench(tmp_path / "store", **directories(tmp_path))
    program = """
import mmap, sys
file = open(sys.argv[1], "r+b")
view = mmap.mmap(file.fileno(), 0)
for line in sys.stdin:
    view[100:108] = line.strip().encode()
    print("written", flush=True)
"""
    with child(program, str(path_of(bench) / "one")) as writer:
        assert writer.ask("engine's") == "written"
        bench.store.mark_quiet(*where(bench))
        assert writer.ask("usertext") == "written"
        assert bench.store.changed_since_quiet(*where(bench), {}) == [DATA]


def test_a_subdot_that_is_left_out_has_no_mark_any_more(bench: Bench) -> None:
    dot, worktree, trees = where(bench)
    bench.store.mark_quiet(dot, worktree, trees)
    bench.store.mark_quiet(dot, worktree, {LOGS: trees[LOGS]})
    assert bench.store.changed_since_quiet(dot, worktree, trees, {}) == [DATA]


def test_a_commit_and_a_restore_take_the_mark_away(bench: Bench) -> None:
    bench.store.mark_quiet(*where(bench))
    commit = bench.commit()
    assert sorted(bench.store.changed_since_quiet(*where(bench), {})) == [DATA, LOGS]
    bench.store.mark_quiet(*where(bench))
    bench.restore(commit)
    assert sorted(bench.store.changed_since_quiet(*where(bench), {})) == [DATA, LOGS]


def test_a_mark_changes_nothing_about_commits(bench: Bench) -> None:
    first = bench.commit()
    (path_of(bench) / "one").write_bytes(b"engine")
    bench.store.mark_quiet(*where(bench))
    assert bench.differing(first) == [DATA]
    second = bench.commit()
    bench.restore(first)
    assert (path_of(bench) / "one").read_bytes() == b"1" * 10_000
    bench.restore(second)
    assert (path_of(bench) / "one").read_bytes() == b"engine"
