"""A restore brings everything back, or can be finished by another process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dm_compose.core.commit import RESTORE, SESSION, Move
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, CommitId, RefName, SubdotName
from dm_compose.core.tree import Restored
from dm_compose.errors import (
    NotFoundError,
    StoreError,
)
from tests.support.stores import DATA, DOT, Bench, Stores, entry_of
from tests.support.subdots import LOGS, NONE, change_everything, check, directories, nothing_left, path_of, trees
from tests.support.trees import describe, differences


def test_a_restore_puts_every_subdot_back_and_says_what_it_did(bench: Bench) -> None:
    wanted = trees(bench)
    commit = bench.commit()
    change_everything(bench)
    done = bench.restore(commit)
    check(bench, wanted)
    assert isinstance(done[DATA], Restored)
    assert done[DATA].paths > 0
    assert done[DATA].changed_bytes == 4096 + 123 + 10_000
    assert done[LOGS].changed_bytes == 2345
    assert bench.differing(commit) == []


def test_a_restore_without_a_move_moves_nothing(bench: Bench) -> None:
    first = bench.commit()
    (path_of(bench) / "one").write_bytes(b"x")
    second = bench.commit()
    log = bench.store.reflog(DOT, MAIN_WORKTREE)
    bench.restore(first)
    assert bench.head == second
    assert bench.store.reflog(DOT, MAIN_WORKTREE) == log
    assert bench.store.unfinished(DOT) == []
    assert bench.differing(first) == []
    assert bench.differing(second) == [DATA]


def test_a_restore_with_a_move_moves_when_it_ends_and_not_before(bench: Bench) -> None:
    first = bench.commit()
    (path_of(bench) / "one").write_bytes(b"x")
    second = bench.commit()
    saved = bench.commit(hidden=True)
    move = Move("reset", DEFAULT_BRANCH, first, saved)
    entry = bench.store.begin_restore(DOT, MAIN_WORKTREE, first, ["s"], move, entry_of(saved))
    for subdot in bench.directories:
        bench.store.restore_subdot(entry, subdot, bench.directories)
    bench.store.sync_restored(entry)
    assert bench.head == second
    (journal,) = bench.store.unfinished(DOT)
    assert (journal.id, journal.operation, journal.target, journal.move) == (entry, RESTORE, first, move)
    assert journal.stopped == ("s",)
    bench.store.end_restore(entry)
    assert bench.head == first
    newest = bench.store.reflog(DOT, MAIN_WORKTREE)[0]
    assert (newest.action, newest.branch, newest.old, newest.new, newest.saved) == ("reset", DEFAULT_BRANCH, second, first, saved)
    assert bench.store.unfinished(DOT) == []


def test_a_move_can_go_to_another_branch_and_commits_follow_it(bench: Bench) -> None:
    first = bench.commit()
    feature = RefName("feature/x")
    entry = bench.store.begin_restore(DOT, MAIN_WORKTREE, first, [], Move("checkout", feature, first), None)
    bench.store.end_restore(entry)
    assert bench.store.worktree(DOT, MAIN_WORKTREE).branch == feature
    assert bench.store.branches(DOT) == {feature: first, DEFAULT_BRANCH: first}
    second = bench.commit()
    assert bench.store.branches(DOT) == {feature: second, DEFAULT_BRANCH: first}
    assert bench.store.resolve(DOT, MAIN_WORKTREE, "feature/x^") == first
    assert bench.store.reflog(DOT, MAIN_WORKTREE)[0].branch == feature


def test_a_restore_takes_over_the_entry_of_the_commit_before_it(bench: Bench) -> None:
    target = bench.commit()
    captured, _ = bench.capture()
    bench.store.will_disturb(captured, ["frozen"], [])
    saved = bench.publish(captured, hidden=True)
    entry = bench.begin(target, takes_over=captured)
    (journal,) = bench.store.unfinished(DOT)
    assert (journal.id, journal.paused) == (entry, ("frozen",))
    assert bench.store.commit(DOT, saved).hidden
    bench.store.end_restore(entry)


def test_a_restore_that_takes_over_an_unpublished_commit_forgets_it(bench: Bench, fast_path: Path) -> None:
    target = bench.commit()
    (path_of(bench) / "one").write_bytes(b"x")
    commit_id, _ = bench.capture()
    bench.store.end_restore(bench.begin(target, takes_over=commit_id))
    nothing_left(fast_path / "store", bench)


def test_a_restore_to_what_does_not_exist_begins_nothing(bench: Bench) -> None:
    with pytest.raises(NotFoundError):
        bench.begin(NONE)
    assert bench.store.unfinished(DOT) == []


def test_a_cancelled_restore_has_not_happened(bench: Bench) -> None:
    first = bench.commit()
    second = bench.commit()
    entry = bench.begin(first, move=True)
    for _ in range(2):
        bench.store.close_entry(entry)
    assert bench.head == second
    assert bench.store.unfinished(DOT) == []


def test_an_interrupted_restore_is_finished_by_another_process(stores: Stores, fast_path: Path) -> None:
    dead = stores.bench(fast_path / "store", **directories(fast_path))
    wanted = trees(dead)
    first = dead.commit()
    change_everything(dead)
    dead.commit()
    entry = dead.begin(first, move=True)
    dead.store.restore_subdot(entry, DATA, dead.directories)
    dead.store.close()
    bench = stores.bench(fast_path / "store", data=fast_path / "data", logs=fast_path / "logs")
    (journal,) = bench.store.unfinished(DOT)
    for subdot in bench.directories:
        bench.store.restore_subdot(journal.id, subdot, bench.directories)
    bench.store.sync_restored(journal.id)
    bench.store.end_restore(journal.id)
    check(bench, wanted)
    assert bench.head == first


def test_a_subdot_that_the_target_does_not_have_is_left_as_it_is(bench: Bench) -> None:
    paths = dict(bench.directories)
    del bench.directories[LOGS]
    commit = bench.commit()
    bench.directories = paths
    before = describe(paths[LOGS])
    assert bench.restore(commit)[LOGS] == Restored(0, 0)
    assert differences(before, describe(paths[LOGS])) == []
    assert bench.differing(commit) == []


def test_subdots_are_restored_at_once(bench: Bench, fast_path: Path) -> None:
    for number in range(8):
        (fast_path / f"more{number}").mkdir()
        (fast_path / f"more{number}/file").write_bytes(b"%d" % number * 1000)
        bench.directories[SubdotName(f"more{number}")] = str(fast_path / f"more{number}")
    wanted = trees(bench)
    commit = bench.commit()
    for number in range(8):
        (fast_path / f"more{number}/file").write_bytes(b"damage")
    entry = bench.begin(commit)
    with ThreadPoolExecutor(10) as pool:
        for job in [pool.submit(bench.store.restore_subdot, entry, s, bench.directories) for s in bench.directories]:
            job.result()
    bench.store.sync_restored(entry)
    bench.store.end_restore(entry)
    check(bench, wanted)
    assert bench.differing(commit) == []


def test_a_commit_after_a_restore_copies_only_what_changed_since(stores: Stores, tmp_path: Path) -> None:
    bench = stores.bench(tmp_path / "store", **directories(tmp_path))
    commit = bench.commit()
    (path_of(bench) / "one").write_bytes(b"x")
    bench.restore(commit)
    (path_of(bench) / "two").write_bytes(b"y" * 50)
    assert bench.store.commit(DOT, bench.commit()).new_bytes == 50


def test_a_session_is_in_the_journal_until_it_is_over(bench: Bench) -> None:
    commit = bench.commit()
    session = bench.store.begin_session(DOT, MAIN_WORKTREE, commit)
    (entry,) = bench.store.unfinished(DOT)
    assert (entry.id, entry.operation, entry.target, entry.move) == (session, SESSION, commit, None)
    bench.store.close_entry(session)
    assert bench.store.unfinished(DOT) == []


def test_a_session_can_be_restored_as_recovery_does(bench: Bench) -> None:
    wanted = trees(bench)
    commit = bench.commit()
    session = bench.store.begin_session(DOT, MAIN_WORKTREE, commit)
    change_everything(bench)
    for subdot in bench.directories:
        bench.store.restore_subdot(session, subdot, bench.directories)
    bench.store.sync_restored(session)
    bench.store.end_restore(session)
    check(bench, wanted)
    assert bench.store.unfinished(DOT) == []


def test_a_restore_supersedes_unfinished_ones_in_the_transaction_that_begins_it(bench: Bench) -> None:
    commit = bench.commit()
    visit = bench.store.begin_restore(DOT, MAIN_WORKTREE, commit, ["one"], None, None)
    session = bench.store.begin_session(DOT, MAIN_WORKTREE, commit, "pytest (process 1)")
    assert [(e.owner, e.began is not None) for e in bench.store.unfinished(DOT)] == [(None, False), ("pytest (process 1)", True)]
    entry = bench.store.begin_restore(DOT, MAIN_WORKTREE, commit, ["two"], None, None, [visit, session])
    (journal,) = bench.store.unfinished(DOT)
    assert (journal.id, journal.operation, journal.stopped) == (entry, RESTORE, ("two", "one"))
    with pytest.raises(StoreError):  # nothing is begun where one of them has gone
        bench.store.begin_restore(DOT, MAIN_WORKTREE, commit, [], None, None, [visit])
    assert [e.id for e in bench.store.unfinished(DOT)] == [entry]
    bench.store.close_entry(entry)


def test_only_a_path_that_no_kept_commit_has_is_news(bench: Bench) -> None:
    one = bench.commit()
    change_everything(bench)
    two = bench.aside()
    path = path_of(bench) / "one"

    def news(*kept: CommitId) -> list[SubdotName]:
        entry, _ = bench.capture()
        found = bench.store.captured_news(entry, kept, {})
        bench.store.abandon(entry)
        return found

    assert news(two) == []
    assert news(one) == sorted(bench.directories)
    text = path.read_bytes()
    bench.store.restore_subdot(entry := bench.begin(one), LOGS, bench.directories)
    bench.store.close_entry(entry)
    assert news(one, two) == []  # a mixture of the two
    path.write_bytes(text + b"x")
    assert news(one, two) == [DATA]
    path.write_bytes(text)
    assert news(one, two) == []
