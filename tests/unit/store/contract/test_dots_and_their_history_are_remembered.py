"""Dots, worktrees and their history are remembered."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dm_compose.core.commit import CommitDraft, Move, Origin, Verification, Worktree
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, CommitId, DotName, RefName, SubdotName, WorktreeName
from dm_compose.errors import (
    ExistsError,
    InUseError,
    NotFoundError,
)
from dm_compose.store.api import Store
from tests.support.stores import DATA, DOT, Bench, Stores, entry_of
from tests.support.subdots import LOGS, NONE, change_everything, check, directories, trees, where

# Dots and worktrees


def test_a_new_store_has_no_dots(stores: Stores, fast_path: Path) -> None:
    assert stores.open(fast_path / "deep/down/store").dots() == []


def test_dots_are_listed_sorted(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    for name in ("shop", "a", "Z", "b_1"):
        store.create_dot(DotName(name))
    assert store.dots() == ["Z", "a", "b_1", "shop"]


def test_a_dot_is_made_once(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    store.create_dot(DOT)
    with pytest.raises(ExistsError, match="shop"):
        store.create_dot(DOT)


def test_a_dot_that_two_make_at_once_is_made_by_one(local: Stores, fast_path: Path) -> None:
    opened = [local.open(fast_path / "store") for _ in range(4)]
    for number in range(10):
        barrier = threading.Barrier(len(opened))

        def make(store: Store, number: int = number, barrier: threading.Barrier = barrier) -> str:
            barrier.wait()
            try:
                store.create_dot(DotName(f"dot{number}"))
            except ExistsError:
                return "exists"
            return "made"

        with ThreadPoolExecutor(len(opened)) as pool:
            assert sorted(pool.map(make, opened)) == ["exists", "exists", "exists", "made"]


def test_a_clone_knows_its_owner_and_a_commit_of_another_dot_and_leaves_nothing(stores: Stores, fast_path: Path) -> None:
    bench = stores.bench(fast_path / "store", data=fast_path / "data")
    (fast_path / "data").mkdir()
    (fast_path / "data/file").write_text("first")
    bench.commit()
    (fast_path / "data/file").write_text("second")
    second = bench.commit()
    store, clone = bench.store, DotName("clone")
    store.create_dot(clone, owner="me")
    assert (store.clones(), store.dots()) == ({clone: "me"}, [clone, DOT])
    shared = store.share_commit(DOT, second, clone)
    assert shared == store.share_commit(DOT, second, clone) == store.commit(clone, second)
    assert (shared.dot, shared.shallow, store.log(clone, second)) == (clone, True, [shared])
    store.delete_dot(DOT)
    place = fast_path / "clone"
    place.mkdir()
    token = store.lock(clone, "me", 0)
    entry = store.begin_restore(clone, MAIN_WORKTREE, second, [], Move("clone", DEFAULT_BRANCH, second), None)
    store.restore_subdot(entry, DATA, {DATA: str(place)})
    store.sync_restored(entry)
    store.end_restore(entry)
    store.unlock(store.lock("gone.session", "me", 0))
    held = store.lock("new.session", "me", 0)
    store.collect(datetime.now(UTC))
    assert sorted({file.stem for file in (fast_path / "store/locks").iterdir()}) == ["clone", "new.session"]
    store.unlock(held)
    assert (place / "file").read_text() == "second"
    assert store.worktree(clone, MAIN_WORKTREE).head == second
    assert store.check({}, repair=False).sound
    store.delete_dot(clone)
    store.unlock(token)
    assert store.clones() == {}
    assert not list((fast_path / "store/locks").glob("clone*"))


def test_a_new_dot_has_a_main_worktree_on_an_unborn_branch(bench: Bench) -> None:
    worktree = bench.store.worktree(DOT, MAIN_WORKTREE)
    assert (worktree.dot, worktree.name, worktree.branch) == (DOT, MAIN_WORKTREE, DEFAULT_BRANCH)
    assert worktree.head is None
    assert worktree.places == {}
    assert bench.store.branches(DOT) == {}
    assert bench.store.reflog(DOT, MAIN_WORKTREE) == []
    assert bench.store.unfinished(DOT) == []


def test_a_dot_or_worktree_that_does_not_exist_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotFoundError, match="nope"):
        bench.store.worktree(DotName("nope"), MAIN_WORKTREE)
    with pytest.raises(NotFoundError, match="other"):
        bench.store.worktree(DOT, WorktreeName("other"))


def test_places_are_remembered_and_added_to(bench: Bench) -> None:
    bench.store.set_places(DOT, MAIN_WORKTREE, {DATA: "shop_data", LOGS: "/srv/logs"})
    bench.store.set_places(DOT, MAIN_WORKTREE, {DATA: "/new place\n\udcff"})
    assert bench.store.worktree(DOT, MAIN_WORKTREE).places == {DATA: "/new place\n\udcff", LOGS: "/srv/logs"}
    with pytest.raises(NotFoundError):
        bench.store.set_places(DOT, WorktreeName("other"), {DATA: "x"})


def test_everything_is_there_when_the_store_is_opened_again(stores: Stores, fast_path: Path) -> None:
    bench = stores.bench(fast_path / "store", **directories(fast_path))
    bench.store.set_places(DOT, MAIN_WORKTREE, {DATA: "shop_data"})
    commit = bench.commit("kept")
    before = bench.store.worktree(DOT, MAIN_WORKTREE), bench.store.commit(DOT, commit), bench.store.reflog(DOT, MAIN_WORKTREE)
    bench.store.close()
    again = stores.open(fast_path / "store")
    assert (again.worktree(DOT, MAIN_WORKTREE), again.commit(DOT, commit), again.reflog(DOT, MAIN_WORKTREE)) == before


def test_dots_do_not_see_each_other(bench: Bench) -> None:
    other = DotName("other")
    bench.store.create_dot(other)
    commit = bench.commit()
    assert bench.store.branches(other) == {}
    assert bench.store.reflog(other, MAIN_WORKTREE) == []
    bench.store.begin_session(DOT, MAIN_WORKTREE, commit)
    assert bench.store.unfinished(other) == []
    with pytest.raises(NotFoundError):
        bench.store.commit(other, commit)
    with pytest.raises(NotFoundError):
        bench.store.resolve(other, MAIN_WORKTREE, commit)


# History


def test_a_commit_says_all_that_its_maker_said(bench: Bench) -> None:
    origins = {DATA: Origin("db", "/var/lib/x", "postgres", "15", "postgres:15", "sha256:1"), SubdotName("unknown"): Origin("no")}
    draft = CommitDraft("a message\nof two lines \udcff", "somebody", {"k": "v"}, origins, "hash", "arm64", clean=True)
    entry, _ = bench.capture()
    before = datetime.now(UTC)
    commit = bench.store.publish(entry, draft)
    assert bench.store.commit(DOT, commit.id) == commit
    assert (entry_of(commit.id), commit.dot, commit.parent, commit.message, commit.author) == (
        entry,
        DOT,
        None,
        draft.message,
        "somebody",
    )
    assert (commit.metadata, commit.compose_hash, commit.architecture) == ({"k": "v"}, "hash", "arm64")
    assert (commit.clean, commit.hidden) == (True, False)
    assert before <= commit.created <= datetime.now(UTC)
    assert commit.new_bytes == 40_000
    assert set(commit.subdots) == {DATA, LOGS}
    state = commit.subdots[DATA]
    assert (state.files, state.size_bytes, commit.size_bytes) == (2, 20_000, 40_000)
    assert (state.service, state.path, state.engine, state.version) == ("db", "/var/lib/x", "postgres", "15")
    assert commit.subdots[LOGS].engine is None


def test_log_is_a_commit_and_its_ancestors_newest_first(bench: Bench, chain: list[CommitId]) -> None:
    assert [c.id for c in bench.store.log(DOT, chain[3])] == chain[::-1]
    assert [c.id for c in bench.store.log(DOT, chain[1])] == [chain[1], chain[0]]
    assert [c.message for c in bench.store.log(DOT, chain[0])] == ["commit 0"]
    with pytest.raises(NotFoundError):
        bench.store.log(DOT, NONE)


def test_a_commit_moves_its_branch_and_is_logged(bench: Bench, chain: list[CommitId]) -> None:
    assert bench.head == chain[3]
    assert bench.store.branches(DOT) == {DEFAULT_BRANCH: chain[3]}
    entries = bench.store.reflog(DOT, MAIN_WORKTREE)
    assert [(e.action, e.branch, e.old, e.new, e.saved) for e in entries] == [
        ("commit", DEFAULT_BRANCH, old, new, None) for old, new in zip([None, *chain], chain, strict=False)
    ][::-1]
    assert [e.number for e in entries] == sorted((e.number for e in entries), reverse=True)
    assert all(e.at.tzinfo is not None for e in entries)


def test_a_note_moves_nothing(bench: Bench) -> None:
    first = bench.commit()
    saved = bench.commit(hidden=True)
    bench.store.note(DOT, MAIN_WORKTREE, "aside", saved)
    newest = bench.store.reflog(DOT, MAIN_WORKTREE)[0]
    assert (newest.action, newest.old, newest.new, newest.saved) == ("aside", first, first, saved)
    assert bench.head == first


# Notes beside commits


def test_a_verification_is_kept_beside_its_commit(bench: Bench, chain: list[CommitId]) -> None:
    first = Verification(datetime(2026, 11, 28, tzinfo=UTC), {"db": "does not come up"}, {"db": "it ended"})
    second = Verification(datetime(2026, 11, 29, tzinfo=UTC), {"db": "answers"})
    assert (first.sound, second.sound) == (False, True)
    assert bench.store.verifications(DOT) == {}
    before = bench.store.commit(DOT, chain[0])
    bench.store.set_verification(DOT, chain[0], first)
    bench.store.set_verification(DOT, chain[1], first)
    bench.store.set_verification(DOT, chain[0], second)
    assert bench.store.verifications(DOT) == {chain[0]: second, chain[1]: first}
    assert bench.store.commit(DOT, chain[0]) == before
    with pytest.raises(NotFoundError):
        bench.store.set_verification(DOT, CommitId.new(), second)
    bench.store.delete_dot(DOT)
    bench.store.create_dot(DOT)
    assert bench.store.verifications(DOT) == {}


def test_a_commit_notes_who_was_not_ready(bench: Bench) -> None:
    entry = bench.store.prepare_commit(DOT, MAIN_WORKTREE, bench.directories)
    bench.store.capture(entry)
    made = bench.store.publish(entry, CommitDraft("half made", "tester", unready={"db": "it does not answer"}))
    assert bench.store.commit(DOT, made.id).unready == {"db": "it does not answer"}


# Moves without files


def test_a_worktree_stands_on_another_branch_or_commit_while_its_files_stay(bench: Bench, chain: list[CommitId]) -> None:
    store, new = bench.store, RefName("new")
    change_everything(bench)
    before = trees(bench)
    for branch, head in ((new, chain[3]), (new, chain[1]), (DEFAULT_BRANCH, chain[3])):
        store.stand_on(DOT, MAIN_WORKTREE, Move("move", branch, head))
        assert (bench.branch, bench.head, store.branches(DOT)[branch]) == (branch, head, head)
        assert store.reflog(DOT, MAIN_WORKTREE)[0].new == head
        check(bench, before)
    assert store.branches(DOT) == {DEFAULT_BRANCH: chain[3], new: chain[1]}
    assert store.unfinished(DOT) == []


def test_a_branch_that_another_worktree_has_is_not_stood_on(bench: Bench, chain: list[CommitId]) -> None:
    store, taken = bench.store, RefName("taken")
    store.add_worktree(Worktree(DOT, WorktreeName("beside"), taken, None, places={DATA: "/nowhere"}), chain[0])
    with pytest.raises(InUseError, match="taken"):
        store.stand_on(DOT, MAIN_WORKTREE, Move("move", taken, chain[0]))
    assert (bench.branch, bench.head) == (DEFAULT_BRANCH, chain[3])


def test_marks_of_quiet_outlive_a_move_to_the_same_commit_only(bench: Bench, chain: list[CommitId]) -> None:
    store = bench.store
    store.mark_quiet(*where(bench), note="of this mark")
    store.stand_on(DOT, MAIN_WORKTREE, Move("move", RefName("new"), chain[3]))
    assert store.changed_since_quiet(*where(bench), {}) == []
    assert store.quiet_note(DOT, MAIN_WORKTREE) == "of this mark"
    store.stand_on(DOT, MAIN_WORKTREE, Move("move", RefName("new"), chain[2]))
    assert sorted(store.changed_since_quiet(*where(bench), {})) == [DATA, LOGS]
    assert store.quiet_note(DOT, MAIN_WORKTREE) == ""


def test_each_mark_has_a_note_of_its_own(bench: Bench) -> None:
    assert bench.store.quiet_note(DOT, MAIN_WORKTREE) == ""
    bench.store.mark_quiet(*where(bench), note="first")
    bench.store.mark_quiet(*where(bench))
    assert bench.store.quiet_note(DOT, MAIN_WORKTREE) == ""


def test_a_combined_commit_has_the_files_of_each_and_can_be_found_and_restored(bench: Bench) -> None:
    first = bench.commit()
    before = trees(bench)
    change_everything(bench)
    second = bench.commit()
    after = trees(bench)
    made = bench.store.combine(DOT, MAIN_WORKTREE, first, second, [LOGS])
    assert (made.hidden, made.parent, bench.head) == (True, first, second)
    assert bench.store.reflog(DOT, MAIN_WORKTREE)[0].saved == made.id
    bench.restore(made.id)
    check(bench, {DATA: before[DATA], LOGS: after[LOGS]})
    with pytest.raises(NotFoundError, match="no subdot nothing"):
        bench.store.combine(DOT, MAIN_WORKTREE, first, second, [SubdotName("nothing")])
