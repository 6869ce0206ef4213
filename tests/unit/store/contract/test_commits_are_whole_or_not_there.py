"""A commit is whole, or it is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dm_compose.core.commit import COMMIT, CommitDraft
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, CommitId, DotName
from dm_compose.errors import (
    DamagedError,
    DmError,
    NotFoundError,
    StoreError,
)
from tests.support.stores import DATA, DOT, Bench, Stores, entry_of
from tests.support.subdots import LOGS, NONE, check, directories, nothing_left, path_of, trees


def test_a_commit_in_the_making_is_in_the_journal_and_nowhere_else(bench: Bench) -> None:
    prepared = bench.prepare()
    bench.store.will_disturb(prepared, ["p1", "p2"], ["s1"])
    for _ in range(2):
        (entry,) = bench.store.unfinished(DOT)
        assert (entry.id, entry.dot, entry.worktree, entry.operation) == (prepared, DOT, MAIN_WORKTREE, COMMIT)
        assert (entry.paused, entry.stopped, entry.target, entry.move) == (("p1", "p2"), ("s1",), None, None)
        assert bench.head is None
        assert entry.makes is not None
        with pytest.raises(NotFoundError):
            bench.store.commit(DOT, entry.makes)
        bench.store.capture(prepared)
    assert bench.publish(prepared) == entry.makes
    assert bench.store.unfinished(DOT) == []


def test_a_commit_tells_what_is_new_and_a_capture_what_was_copied(stores: Stores, tmp_path: Path) -> None:
    bench = stores.bench(tmp_path / "store", **directories(tmp_path))

    def commit() -> tuple[int, int]:
        commit_id, copied_bytes = bench.capture()
        return bench.store.commit(DOT, bench.publish(commit_id)).new_bytes, copied_bytes

    assert commit() in ((40_000, 40_000), (40_000, 0)), "0 where files are cloned"
    assert commit() == (0, 0)
    (path_of(bench) / "one").write_bytes(b"x" * 77)
    assert commit()[0] == 77


def test_captured_changes_names_the_subdots_that_differ_from_the_head(bench: Bench) -> None:
    commit_id, _ = bench.capture()
    assert sorted(bench.store.captured_changes(commit_id, {})) == [DATA, LOGS], "there is no head"
    bench.publish(commit_id)
    commit_id, _ = bench.capture()
    assert bench.store.captured_changes(commit_id, {}) == []
    bench.store.abandon(commit_id)
    (path_of(bench, LOGS) / "one").write_bytes(b"x")
    (path_of(bench) / "server.pid").write_bytes(b"x")
    commit_id, _ = bench.capture()
    assert bench.store.captured_changes(commit_id, {DATA: ["*.pid"]}) == [LOGS]
    assert sorted(bench.store.captured_changes(commit_id, {})) == [DATA, LOGS]
    bench.store.abandon(commit_id)


def test_a_subdot_that_did_not_change_keeps_its_manifest(bench: Bench) -> None:
    first = bench.store.commit(DOT, bench.commit())
    (path_of(bench) / "one").write_bytes(b"x")
    second = bench.store.commit(DOT, bench.commit())
    assert second.subdots[LOGS].manifest == first.subdots[LOGS].manifest
    assert second.subdots[DATA].manifest != first.subdots[DATA].manifest
    assert second.parent == first.id


def test_an_unchanged_file_is_stored_once(bench: Bench, fast_path: Path) -> None:
    for _ in range(3):
        bench.commit()
        (path_of(bench) / "one").write_bytes(os.urandom(100))
    objects = [p for p in (fast_path / "store/objects").rglob("*") if p.is_file() and p.suffix != ".manifest"]
    assert len(objects) == 4 + 2


def test_a_hidden_commit_moves_nothing_and_leaves_its_entry_open(bench: Bench) -> None:
    head = bench.commit()
    (path_of(bench) / "one").write_bytes(b"hidden")
    hidden = bench.commit(hidden=True)
    assert bench.head == head
    assert bench.store.branches(DOT) == {DEFAULT_BRANCH: head}
    assert len(bench.store.reflog(DOT, MAIN_WORKTREE)) == 1
    assert [c.id for c in bench.store.log(DOT, head)] == [head]
    assert bench.store.commit(DOT, hidden).hidden
    assert bench.store.commit(DOT, hidden).parent == head
    assert [e.id for e in bench.store.unfinished(DOT)] == [entry_of(hidden)]
    bench.store.abandon(entry_of(hidden))
    assert bench.store.unfinished(DOT) == []
    bench.restore(head)
    bench.restore(hidden)
    assert (path_of(bench) / "one").read_bytes() == b"hidden"


@pytest.mark.parametrize("phase", ["prepared", "disturbed", "captured"])
def test_an_abandoned_commit_leaves_nothing_behind(bench: Bench, fast_path: Path, phase: str) -> None:
    first = bench.commit()
    (path_of(bench) / "one").write_bytes(b"x" * 100)
    wanted = trees(bench)
    entry = bench.prepare()
    if phase != "prepared":
        bench.store.will_disturb(entry, ["p"], [])
    if phase == "captured":
        bench.store.capture(entry)
    bench.store.abandon(entry)
    nothing_left(fast_path / "store", bench)
    check(bench, wanted)
    assert bench.head == first
    with pytest.raises(NotFoundError):
        bench.store.commit(DOT, CommitId(entry))
    bench.store.abandon(entry)
    with pytest.raises(StoreError):
        bench.store.capture(entry)
    second = bench.commit()
    bench.restore(first)
    bench.restore(second)
    check(bench, wanted)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_published_commit_cannot_be_abandoned(bench: Bench, hidden: bool) -> None:
    wanted = trees(bench)
    commit = bench.commit(hidden=hidden)
    for _ in range(2):
        bench.store.abandon(entry_of(commit))
    assert bench.store.commit(DOT, commit).id == commit
    (path_of(bench) / "one").unlink()
    bench.restore(commit)
    check(bench, wanted)


def test_what_another_process_left_is_abandoned_by_its_id(stores: Stores, fast_path: Path) -> None:
    dead = stores.bench(fast_path / "store", **directories(fast_path))
    commit_id, _ = dead.capture()
    dead.store.close()
    bench = stores.bench(fast_path / "store", data=fast_path / "data", logs=fast_path / "logs")
    assert [e.id for e in bench.store.unfinished(DOT)] == [commit_id]
    bench.store.abandon(commit_id)
    nothing_left(fast_path / "store", bench)
    bench.commit()


def test_steps_of_a_commit_that_nobody_makes_are_errors(bench: Bench) -> None:
    published = bench.commit()
    for commit_id in (NONE, published):
        for step in (
            lambda i: bench.store.capture(i),
            lambda i: bench.store.publish(i, CommitDraft("m", "a")),
            lambda i: bench.store.will_disturb(i, [], []),
            lambda i: bench.store.captured_changes(i, {}),
            lambda i: bench.store.restore_subdot(i, DATA, bench.directories),
            lambda i: bench.store.sync_restored(i),
            lambda i: bench.store.end_restore(i),
            lambda i: bench.begin(published, takes_over=i),
        ):
            with pytest.raises(StoreError, match=commit_id[:12]):
                step(commit_id)
    assert bench.head == published


def test_a_commit_of_a_dot_that_does_not_exist_is_no_damage(bench: Bench) -> None:
    for step in (
        lambda: bench.store.prepare_commit(DotName("nope"), MAIN_WORKTREE, bench.directories),
        lambda: bench.store.begin_session(DotName("nope"), MAIN_WORKTREE, NONE),
    ):
        with pytest.raises(DmError) as caught:
            step()
        assert not isinstance(caught.value, DamagedError)
        assert "nope" in caught.value.message
