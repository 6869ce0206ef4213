"""What any store does, for one in this process and for one at the other end of a pipe."""

from __future__ import annotations

import contextlib
import io
import os
import random
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dm_compose import process
from dm_compose.core.commit import COMMIT, RESTORE, SESSION, Commit, CommitDraft, Move, Origin
from dm_compose.core.events import Event
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, CommitId, DotName, RefName, SubdotName, WorktreeName
from dm_compose.errors import (
    AmbiguousError,
    DamagedError,
    DiskFullError,
    DmError,
    ExistsError,
    InUseError,
    NotFoundError,
    StoreError,
    UsageError,
)
from dm_compose.state import Database
from dm_compose.state.schema import SCHEMA_VERSION
from dm_compose.store.api import Restored, Store
from dm_compose.store.helper.client import HelperStore, bundle
from dm_compose.store.local.store import LocalStore
from tests.support import filesystems
from tests.support.filesystems import Mount, leave_free
from tests.support.processes import child, run_python
from tests.support.stores import DATA, DOT, Bench, Stores, connect
from tests.support.trees import describe, differences
from tests.unit.conftest import available

LOGS = SubdotName("logs")
NONE: CommitId = CommitId("0" * 32)
MIB = 1 << 20


def directories(path: Path) -> dict[str, Path]:
    """Make two trees with two files each."""
    for subdot in ("data", "logs"):
        (path / subdot).mkdir()
        (path / subdot / "one").write_bytes(b"1" * 10_000)
        (path / subdot / "two").write_bytes(b"2" * 10_000)
    return {"data": path / "data", "logs": path / "logs"}


@pytest.fixture
def bench(stores: Stores, fast_path: Path) -> Bench:
    """A store with a dot of two subdots that have files and no commit yet."""
    return stores.bench(fast_path / "store", **directories(fast_path))


@pytest.fixture
def own(local: Stores, fast_path: Path) -> Bench:
    """The same, in this process only."""
    return local.bench(fast_path / "store", **directories(fast_path))


def path_of(bench: Bench, subdot: SubdotName = DATA) -> Path:
    return Path(bench.directories[subdot])


def where(bench: Bench) -> tuple[DotName, WorktreeName, dict[SubdotName, str]]:
    return DOT, MAIN_WORKTREE, bench.directories


def trees(bench: Bench) -> dict[SubdotName, Any]:
    return {subdot: describe(path) for subdot, path in bench.directories.items()}


def check(bench: Bench, wanted: dict[SubdotName, Any]) -> None:
    assert [line for subdot, tree in trees(bench).items() for line in differences(wanted[subdot], tree)] == []


def nothing_left(root: Path, bench: Bench) -> None:
    """No operation is open, and no half-made commit takes space."""
    assert bench.store.unfinished(DOT) == []
    assert list((root / "incoming").iterdir()) == []


# Locks

_HOLDER = """
import sys
from pathlib import Path
from dm_compose.store.local.store import LocalStore
store = LocalStore(Path(sys.argv[1]))
token = store.lock("shop", "the child", 0)
print("held", flush=True)
for line in sys.stdin:
    store.unlock(token)
    print("given back", flush=True)
"""


def test_a_lock_keeps_another_process_out_and_names_who_holds_it(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    with child(_HOLDER, str(fast_path / "store")) as holder:
        assert holder.read() == "held"
        with pytest.raises(InUseError, match="shop is in use by the child") as caught:
            store.lock("shop", "the test", 0)
        assert caught.value.hint
        assert holder.ask("unlock") == "given back"
        store.lock("shop", "the test", 0)


def test_a_lock_ends_when_its_holder_is_killed(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    with child(_HOLDER, str(fast_path / "store")) as holder:
        assert holder.read() == "held"
        holder.kill()
        store.lock("shop", "the test", 0)


def test_a_lock_ends_when_the_helper_that_holds_it_is_killed(local: Stores, fast_path: Path) -> None:
    remote = connect(fast_path / "store")
    store = local.open(fast_path / "store")
    remote.lock("shop", "the helper", 0)
    with pytest.raises(InUseError, match="the helper"):
        store.lock("shop", "the test", 0)
    remote._pipe.child.kill()
    remote._pipe.child.wait()
    store.lock("shop", "the test", 0)
    remote.close()


def test_a_lock_keeps_its_own_process_out_too(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    token = store.lock("shop", "me", 0)
    with pytest.raises(InUseError, match="in use by me"):
        store.lock("shop", "me again", 0)
    store.unlock(token)
    store.lock("shop", "me again", 0)


def test_a_lock_is_waited_for(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    token = store.lock("shop", "me", 0)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(store.lock, "shop", "the patient one", 30)
        with pytest.raises(InUseError):
            store.lock("shop", "the impatient one", 0)
        store.unlock(token)
        assert waiting.result(20) != token


def test_only_one_of_many_gets_a_lock(stores: Stores, fast_path: Path) -> None:
    one, two = (stores.open(fast_path / "store") for _ in range(2))
    inside, most = [0], [0]
    guard = threading.Lock()

    def work(store: Store) -> None:
        for _ in range(10):
            token = store.lock("shop", "worker", 30)
            with guard:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            with guard:
                inside[0] -= 1
            store.unlock(token)

    with ThreadPoolExecutor(4) as pool:
        for job in [pool.submit(work, store) for store in (one, two, one, two)]:
            job.result()
    assert most[0] == 1


def test_locks_of_different_names_do_not_meet(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    assert store.lock("shop", "me", 0) != store.lock("shop.session", "me", 0)
    store.lock("shop2", "me", 0)


def test_unlocking_twice_or_what_nobody_holds_is_nothing(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    token = store.lock("shop", "me", 0)
    store.unlock(token)
    other = store.lock("shop", "other", 0)
    store.unlock(token)
    store.unlock("never given")
    with pytest.raises(InUseError, match="other"):
        store.lock("shop", "me", 0)
    store.unlock(other)


def test_closing_a_store_gives_its_locks_back(stores: Stores, fast_path: Path) -> None:
    one, two = (stores.open(fast_path / "store") for _ in range(2))
    one.lock("shop", "one", 0)
    one.close()
    two.lock("shop", "two", 0)


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
    store.restore(entry, DATA, {DATA: str(place)})
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


# References


@pytest.fixture
def chain(bench: Bench) -> list[CommitId]:
    """Four commits, oldest first."""
    return [bench.commit(f"commit {number}") for number in range(4)]


def test_a_reference_means_a_commit(bench: Bench, chain: list[CommitId], fast_path: Path) -> None:
    database = Database(fast_path / "store/state.db")
    database.set_ref(DOT, "tag", RefName("v1.0"), chain[1])
    database.close()
    wanted = {
        3: ["HEAD", "HEAD~0", "master"],
        2: ["HEAD^", "HEAD~", "HEAD~1"],
        1: ["HEAD^^", "master~2", "v1.0"],
        0: ["HEAD~3", "HEAD~1^~1", "HEAD^^^", "v1.0^"],
    }
    for index, refs in wanted.items():
        assert [bench.store.resolve(DOT, MAIN_WORKTREE, ref) for ref in refs] == [chain[index]] * len(refs)


def test_the_first_digits_of_an_id_mean_its_commit(bench: Bench, chain: list[CommitId]) -> None:
    for commit in chain:
        for digits in (12, 16, 32):
            assert bench.store.resolve(DOT, MAIN_WORKTREE, commit[:digits]) == commit
    assert bench.store.resolve(DOT, MAIN_WORKTREE, f"{chain[2]}^") == chain[1]


def test_a_hidden_commit_is_found_by_its_id(bench: Bench) -> None:
    bench.commit()
    hidden = bench.commit(hidden=True)
    assert bench.store.resolve(DOT, MAIN_WORKTREE, hidden[:20]) == hidden


def test_digits_that_fit_several_commits_are_ambiguous_and_the_message_names_them(bench: Bench, fast_path: Path) -> None:
    commit = bench.store.commit(DOT, bench.commit())
    database = Database(fast_path / "store/state.db")
    ids = [CommitId("abcd" + digit * 28) for digit in "123"]
    for commit_id in ids:
        database.add_commit(Commit(commit_id, DOT, commit.id, "m", "a", datetime.now(UTC), {}))
    database.close()
    with pytest.raises(AmbiguousError) as caught:
        bench.store.resolve(DOT, MAIN_WORKTREE, "abcd")
    assert all(commit_id.short in caught.value.message for commit_id in ids)
    assert caught.value.hint
    assert bench.store.resolve(DOT, MAIN_WORKTREE, "abcd2") == ids[1]
    with pytest.raises(NotFoundError):  # too few digits to mean an id
        bench.store.resolve(DOT, MAIN_WORKTREE, "abc")


NOTHING = ["nope", "HEADS", "head", "~1", "^", "HEAD@{1}", "HEAD~x", "HEAD~1234567", "master^0", "ffffffff", "a/b", "mas*"]


def test_a_reference_to_nothing_is_not_found(bench: Bench, chain: list[CommitId]) -> None:
    for ref in NOTHING:
        with pytest.raises(NotFoundError, match="no branch, tag or commit") as caught:
            bench.store.resolve(DOT, MAIN_WORKTREE, ref)
        assert caught.value.hint


def test_a_reference_that_cannot_be_one_is_a_usage_error(bench: Bench, chain: list[CommitId]) -> None:
    for ref in ("", "\n", "a\nb"):
        with pytest.raises(UsageError):
            bench.store.resolve(DOT, MAIN_WORKTREE, ref)


def test_going_back_beyond_the_first_commit_is_not_found(bench: Bench, chain: list[CommitId]) -> None:
    for ref in ("HEAD~4", "HEAD^^^^", "master~999999"):
        with pytest.raises(NotFoundError, match="beyond the first commit"):
            bench.store.resolve(DOT, MAIN_WORKTREE, ref)


def test_head_of_a_dot_without_commits_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotFoundError, match="no commit yet"):
        bench.store.resolve(DOT, MAIN_WORKTREE, "HEAD")


def test_a_reference_in_a_dot_or_worktree_that_does_not_exist_is_not_found(bench: Bench) -> None:
    for ref in ("HEAD", "master"):
        with pytest.raises(NotFoundError):
            bench.store.resolve(DotName("nope"), MAIN_WORKTREE, ref)
    with pytest.raises(NotFoundError):
        bench.store.resolve(DOT, WorktreeName("nope"), "HEAD")


# History


def test_a_commit_says_all_that_its_maker_said(bench: Bench) -> None:
    origins = {DATA: Origin("db", "/var/lib/x", "postgres", "15", "postgres:15", "sha256:1"), SubdotName("unknown"): Origin("no")}
    draft = CommitDraft("a message\nof two lines \udcff", "somebody", {"k": "v"}, origins, "hash", "arm64", clean=True)
    commit_id, captured = bench.capture()
    before = datetime.now(UTC)
    commit = bench.store.publish(commit_id, draft)
    assert bench.store.commit(DOT, commit_id) == commit
    assert (commit.id, commit.dot, commit.parent, commit.message, commit.author) == (
        commit_id,
        DOT,
        None,
        draft.message,
        "somebody",
    )
    assert (commit.metadata, commit.compose_hash, commit.architecture) == ({"k": "v"}, "hash", "arm64")
    assert (commit.clean, commit.hidden) == (True, False)
    assert before <= commit.created <= datetime.now(UTC)
    assert commit.new_bytes == captured.new_bytes == 40_000
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


# Differences


def test_an_unchanged_tree_does_not_differ(bench: Bench) -> None:
    commit = bench.commit()
    assert bench.differing(commit) == []
    diff = bench.store.diff_live(*where(bench), commit, {}, None)
    assert set(diff) == {DATA, LOGS}
    assert not any(diff.values())
    assert all(d.exact for d in diff.values())


def test_everything_differs_from_nothing(bench: Bench) -> None:
    diff = bench.store.diff_live(*where(bench), None, {}, None)
    assert [(c.path, c.how, c.changed_bytes) for c in diff[DATA].changes] == [
        *(("", "added", 0), ("one", "added", 10_000), ("two", "added", 10_000))
    ]


def test_trees_can_be_looked_at_before_there_is_a_dot(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    paths = {SubdotName(k): str(v) for k, v in directories(fast_path).items()}
    assert len(store.diff_live(DOT, MAIN_WORKTREE, paths, None, {}, 0)[DATA].changes) == 3
    store.mark_quiet(DOT, MAIN_WORKTREE, paths)
    assert store.changed_since_quiet(DOT, MAIN_WORKTREE, paths, {}) == []


def change_everything(bench: Bench) -> None:
    data = path_of(bench)
    (data / "one").write_bytes(b"1" * 5000 + b"!" + b"1" * 4999)
    (data / "two").unlink()
    (data / "three").write_bytes(b"3" * 123)
    (data / "directory").mkdir()
    os.chmod(path_of(bench, LOGS) / "one", 0o600)
    (path_of(bench, LOGS) / "two").write_bytes(b"2" * 12_345)


CHANGES = {
    DATA: [
        ("directory", "added", 0, 0),
        ("one", "changed", 10_000, 4096),
        ("three", "added", 123, 123),
        ("two", "removed", 10_000, 10_000),
    ],
    LOGS: [("one", "metadata", 10_000, 0), ("two", "changed", 12_345, 2345)],
}


def told(diff: Any) -> dict[SubdotName, Any]:
    return {s: [(c.path, c.how, c.size_bytes, c.changed_bytes) for c in d.changes] for s, d in diff.items()}


def test_live_changes_are_told_with_the_bytes_that_differ(bench: Bench) -> None:
    commit = bench.commit()
    change_everything(bench)
    diff = bench.store.diff_live(*where(bench), commit, {}, None)
    assert told(diff) == CHANGES
    assert all(d.exact for d in diff.values())
    assert diff[DATA].changed_bytes == 4096 + 123 + 10_000
    assert sorted(bench.differing(commit)) == [DATA, LOGS]


def test_changes_between_commits_are_those_that_were_made(bench: Bench) -> None:
    first = bench.commit()
    change_everything(bench)
    second = bench.commit()
    assert told(bench.store.diff_commits(DOT, first, second, {})) == CHANGES
    back = told(bench.store.diff_commits(DOT, second, first, {}))
    assert back[DATA][-1] == ("two", "added", 10_000, 10_000)
    assert back[LOGS][1] == ("two", "changed", 10_000, 2345)
    assert not any(bench.store.diff_commits(DOT, second, second, {}).values())


def test_a_touched_file_with_the_same_contents_is_no_change(bench: Bench) -> None:
    commit = bench.commit()
    (path_of(bench) / "one").write_bytes(b"1" * 10_000)
    os.utime(path_of(bench) / "two")
    diff = bench.store.diff_live(*where(bench), commit, {}, None)
    assert not any(diff.values())
    assert bench.differing(commit) == [DATA], "time stamps alone may name one too many"


def test_beyond_the_budget_files_count_whole_and_the_answer_says_so(bench: Bench) -> None:
    commit = bench.commit()
    change_everything(bench)
    (path_of(bench) / "tiny").write_bytes(b"")
    none = bench.store.diff_live(*where(bench), commit, {}, 0)
    assert ("one", "changed", 10_000, 10_000) in told(none)[DATA]
    assert not none[DATA].exact
    enough = bench.store.diff_live(*where(bench), commit, {}, 10_000)
    assert ("one", "changed", 10_000, 4096) in told(enough)[DATA]
    assert enough[DATA].exact
    assert not enough[LOGS].exact, "12345 bytes are more than the budget"
    (path_of(bench) / "two").write_bytes(b"!" * 10_000)
    shared = bench.store.diff_live(*where(bench), commit, {}, 19_999)[DATA]
    assert [c.changed_bytes for c in shared.changes if c.how == "changed"] == [4096, 10_000], "the first used the budget up"
    assert not shared.exact


def test_ignored_paths_are_not_told(bench: Bench) -> None:
    commit = bench.commit()
    change_everything(bench)
    ignore = {DATA: ["t*", "directory"], LOGS: ["*"]}
    assert told(bench.store.diff_live(*where(bench), commit, ignore, None)) == {DATA: [CHANGES[DATA][1]], LOGS: []}
    second = bench.commit()
    assert told(bench.store.diff_commits(DOT, commit, second, ignore)) == {DATA: [CHANGES[DATA][1]], LOGS: []}


def test_subdots_that_came_and_went_are_told(bench: Bench) -> None:
    first = bench.commit()
    del bench.directories[LOGS]
    live = told(bench.store.diff_live(*where(bench), first, {}, None))
    assert [c[:2] for c in live[LOGS]] == [("", "removed"), ("one", "removed"), ("two", "removed")]
    second = bench.commit()
    there = told(bench.store.diff_commits(DOT, first, second, {}))
    assert [c[1] for c in there[LOGS]] == ["removed"] * 3
    assert [c[1] for c in told(bench.store.diff_commits(DOT, second, first, {}))[LOGS]] == ["added"] * 3
    assert bench.restore(first)[DATA].paths == 0


def test_names_that_are_not_utf8_are_told(bench: Bench) -> None:
    commit = bench.commit()
    Path(os.fsdecode(bytes(path_of(bench)) + b"/\xff\n")).write_bytes(b"x")
    assert told(bench.store.diff_live(*where(bench), commit, {}, None))[DATA] == [("\udcff\n", "added", 1, 1)]


def test_a_directory_that_is_gone_is_an_error_that_names_it(bench: Bench) -> None:
    commit = bench.commit()
    bench.directories[DATA] = str(path_of(bench)) + "/gone"
    for look in (
        lambda: bench.differing(commit),
        lambda: bench.store.diff_live(*where(bench), commit, {}, None),
        lambda: bench.prepare(),
        lambda: bench.store.mark_quiet(*where(bench)),
    ):
        with pytest.raises(StoreError, match="data/gone"):
            look()


# Quiet marks


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


# Making commits


def test_a_commit_in_the_making_is_in_the_journal_and_nowhere_else(bench: Bench) -> None:
    commit_id = bench.prepare()
    bench.store.will_disturb(commit_id, ["p1", "p2"], ["s1"])
    for _ in range(2):
        (entry,) = bench.store.unfinished(DOT)
        assert (entry.id, entry.dot, entry.worktree, entry.operation) == (commit_id, DOT, MAIN_WORKTREE, COMMIT)
        assert (entry.paused, entry.stopped, entry.target, entry.move) == (("p1", "p2"), ("s1",), None, None)
        assert bench.head is None
        with pytest.raises(NotFoundError):
            bench.store.commit(DOT, commit_id)
        bench.store.capture(commit_id)
    bench.publish(commit_id)
    assert bench.store.unfinished(DOT) == []


def test_captured_tells_what_is_new_and_what_was_copied(stores: Stores, tmp_path: Path) -> None:
    bench = stores.bench(tmp_path / "store", **directories(tmp_path))
    commit_id, captured = bench.capture()
    assert captured.new_bytes == 40_000
    assert captured.copied_bytes in (40_000, 0), "0 where files are cloned"
    bench.publish(commit_id)
    commit_id, captured = bench.capture()
    assert (captured.new_bytes, captured.copied_bytes) == (0, 0)
    bench.publish(commit_id)
    (path_of(bench) / "one").write_bytes(b"x" * 77)
    commit_id, captured = bench.capture()
    assert captured.new_bytes == 77
    bench.store.abandon(commit_id)


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
    assert [e.id for e in bench.store.unfinished(DOT)] == [hidden]
    bench.store.abandon(hidden)
    assert bench.store.unfinished(DOT) == []
    bench.restore(head)
    bench.restore(hidden)
    assert (path_of(bench) / "one").read_bytes() == b"hidden"


@pytest.mark.parametrize("phase", ["prepared", "disturbed", "captured"])
def test_an_abandoned_commit_leaves_nothing_behind(bench: Bench, fast_path: Path, phase: str) -> None:
    first = bench.commit()
    (path_of(bench) / "one").write_bytes(b"x" * 100)
    wanted = trees(bench)
    commit_id = bench.prepare()
    if phase != "prepared":
        bench.store.will_disturb(commit_id, ["p"], [])
    if phase == "captured":
        bench.store.capture(commit_id)
    bench.store.abandon(commit_id)
    nothing_left(fast_path / "store", bench)
    check(bench, wanted)
    assert bench.head == first
    with pytest.raises(NotFoundError):
        bench.store.commit(DOT, commit_id)
    bench.store.abandon(commit_id)
    with pytest.raises(StoreError):
        bench.store.capture(commit_id)
    second = bench.commit()
    bench.restore(first)
    bench.restore(second)
    check(bench, wanted)


@pytest.mark.parametrize("hidden", [False, True])
def test_a_published_commit_cannot_be_abandoned(bench: Bench, hidden: bool) -> None:
    wanted = trees(bench)
    commit = bench.commit(hidden=hidden)
    for _ in range(2):
        bench.store.abandon(commit)
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
            lambda i: bench.store.restore(i, DATA, bench.directories),
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


# Restoring


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
    entry = bench.store.begin_restore(DOT, MAIN_WORKTREE, first, ["s"], move, saved)
    for subdot in bench.directories:
        bench.store.restore(entry, subdot, bench.directories)
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
    saved, _ = bench.capture()
    bench.store.will_disturb(saved, ["frozen"], [])
    bench.publish(saved, hidden=True)
    entry = bench.begin(target, takes_over=saved)
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
    dead.store.restore(entry, DATA, dead.directories)
    dead.store.close()
    bench = stores.bench(fast_path / "store", data=fast_path / "data", logs=fast_path / "logs")
    (journal,) = bench.store.unfinished(DOT)
    for subdot in bench.directories:
        bench.store.restore(journal.id, subdot, bench.directories)
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
        for job in [pool.submit(bench.store.restore, entry, s, bench.directories) for s in bench.directories]:
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
    commit_id, captured = bench.capture()
    assert captured.new_bytes == 50
    bench.store.abandon(commit_id)


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
        bench.store.restore(session, subdot, bench.directories)
    bench.store.sync_restored(session)
    bench.store.end_restore(session)
    check(bench, wanted)
    assert bench.store.unfinished(DOT) == []


# Across the pipe


def test_errors_are_the_same_on_both_sides_of_the_pipe(fast_path: Path, local: Stores) -> None:
    near, far = local.open(fast_path / "store"), connect(fast_path / "store")
    near.create_dot(DOT)
    calls: list[Callable[[Store], object]] = [
        lambda s: s.create_dot(DOT),
        lambda s: s.worktree(DotName("nope"), MAIN_WORKTREE),
        lambda s: s.resolve(DOT, MAIN_WORKTREE, "nope"),
        lambda s: s.resolve(DOT, MAIN_WORKTREE, "\n"),
        lambda s: s.diff_live(DOT, MAIN_WORKTREE, {DATA: "/nowhere"}, None, {}, None),
    ]
    for call in calls:
        errors = []
        for store in (near, far):
            with pytest.raises(DmError) as caught:
                call(store)  # type: ignore[arg-type]
            errors.append((type(caught.value), caught.value.message, caught.value.hint))
        assert errors[0] == errors[1]
    far.close()


def test_events_reach_the_listener(stores: Stores, fast_path: Path) -> None:
    events: list[Event] = []
    bench = Bench(stores.open(fast_path / "store", events.append), **directories(fast_path))
    bench.commit()
    copied = [e for e in events if e.what == "copy"]
    assert max(e.done for e in copied) == 40_000
    assert {e.unit for e in copied} == {"bytes"}


def test_many_calls_run_at_once(bench: Bench) -> None:
    commit = bench.commit()
    change_everything(bench)
    store = bench.store

    def call(number: int) -> object:
        return (
            lambda: store.dots() == [DOT],
            lambda: store.worktree(DOT, MAIN_WORKTREE).head == commit,
            lambda: told(store.diff_live(*where(bench), commit, {}, None)) == CHANGES,
            lambda: sorted(store.differing(*where(bench), commit)) == [DATA, LOGS],
            lambda: store.resolve(DOT, MAIN_WORKTREE, "HEAD") == commit,
            lambda: store.lock(f"lock{number}", "x" * number, 0) != "",
        )[number % 6]()

    with ThreadPoolExecutor(24) as pool:
        assert all(pool.map(call, range(240)))


def test_large_answers_cross(bench: Bench) -> None:
    for number in range(3000):
        (path_of(bench) / f"{number:0100}").touch()
    assert len(bench.store.diff_live(*where(bench), None, {}, None)[DATA].changes) == 3003


def test_the_helper_runs_on_the_bundle_and_the_standard_library_alone(fast_path: Path) -> None:
    (fast_path / "code.zip").write_bytes(bundle())
    program = """
import sys
sys.path.insert(0, sys.argv[1])
import dm_compose.store.helper.server, filelock
print(sys.flags.no_site, dm_compose.store.helper.server.__file__, filelock.__file__)
outside = [n for n, m in sys.modules.items() if "site-packages" in (getattr(m, "__file__", None) or "")]
print(outside)
for name in ("click", "docker", "pluggy", "yaml"):
    try:
        __import__(name)
        print("has", name)
    except ImportError:
        pass
"""
    pipe = process.start_pipe([sys.executable, "-I", "-S", "-E", "-c", program, str(fast_path / "code.zip")])
    said = pipe.from_child.read().decode()
    assert pipe.close(10) == 0
    archive = fast_path / "code.zip"
    assert said.splitlines() == [f"1 {archive}/dm_compose/store/server.py {archive}/filelock/__init__.py", "[]"]


def pipe_to(program: str) -> process.Pipe:
    return process.start_pipe([sys.executable, "-I", "-S", "-c", program])


_SAY_HELLO = """
import sys
def frame(data):
    sys.stdout.buffer.write(len(data).to_bytes(4, "big") + data)
    sys.stdout.buffer.flush()
def read():
    i = sys.stdin.buffer
    return i.read(int.from_bytes(i.read(4), "big"))
read()
frame(b'{"call": 1, "result": null}')
"""


def answer_of(call: Callable[[], object]) -> object:
    """Return what a call returns or raises, or "hangs": a client that waits for ever is worse than any error."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    return found[0] if found else "hangs"


@pytest.mark.parametrize(
    "then",
    [
        "sys.exit(0)",
        "read(); sys.exit(1)",
        "read(); sys.stdout.buffer.write(b'docker: Error response from daemon'); sys.stdout.buffer.flush(); read()",
        "read(); frame(b'not json'); read()",
        "read(); frame(b'[1, 2]'); read()",
        'read(); frame(b\'{"call": 77, "result": null}\'); read()',
        "read(); frame(b'{}'); read()",
        "read(); sys.stdout.buffer.write(b'\\0\\0\\0'); sys.exit(0)",
        "read(); sys.stdout.close(); import os; os.close(1); read()",
    ],
)
def test_a_helper_that_ends_or_talks_nonsense_is_an_error_and_not_a_hang(then: str) -> None:
    pipe = pipe_to(_SAY_HELLO + then)
    store = HelperStore(pipe, b"", lambda _: None)
    for _ in range(2):
        error = answer_of(store.dots)
        assert isinstance(error, StoreError), error
        assert error.hint
    pipe.child.kill()
    store.close()


def test_a_helper_that_never_starts_is_an_error() -> None:
    pipe = pipe_to("raise SystemExit(1)")
    assert isinstance(answer_of(lambda: HelperStore(pipe, b"x" * 1_000_000, lambda _: None)), StoreError)
    assert pipe.child.wait(10) == 1


def test_a_listener_that_fails_does_not_make_calls_hang(fast_path: Path) -> None:
    def listener(_: Event) -> None:
        raise ValueError("a bug in a progress bar")

    bench = Bench(connect(fast_path / "store", listener), **directories(fast_path))  # type: ignore[arg-type]
    assert answer_of(bench.commit) != "hangs"
    assert answer_of(bench.store.dots) != "hangs"
    bench.store.close()


def test_a_closed_store_answers_with_an_error_and_not_never(fast_path: Path) -> None:
    store = connect(fast_path / "store")
    store.close()
    store.close()
    assert isinstance(answer_of(store.dots), StoreError)


def test_a_call_that_waits_when_the_helper_is_killed_gets_an_error(fast_path: Path) -> None:
    store = connect(fast_path / "store")
    store.lock("shop", "me", 0)
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(answer_of(lambda: store.lock("shop", "me too", 60))))
    thread.start()
    store._pipe.child.kill()
    thread.join(20)
    store.close()
    assert isinstance(found[0], StoreError)


def test_a_hello_that_fails_leaves_no_helper_behind(fast_path: Path) -> None:
    (fast_path / "store").write_bytes(b"a file where the store should be")
    before = children()
    for _ in range(3):
        with pytest.raises(StoreError):
            connect(fast_path / "store")
    assert children() == before


def children() -> set[str]:
    """Return the processes that we started and that have not ended."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_the_server_ends_with_its_input(fast_path: Path) -> None:
    store = connect(fast_path / "store")
    store._pipe.to_child.close()
    assert store._pipe.child.wait(20) == 0
    store.close()


# What can be wrong with a store


def garble(path: Path, seed: int = 0) -> None:
    data = bytearray(path.read_bytes())
    rng = random.Random(seed)
    for _ in range(20):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)


def test_a_store_of_a_newer_version_is_refused_and_not_touched(stores: Stores, fast_path: Path) -> None:
    stores.bench(fast_path / "store", **directories(fast_path)).commit()
    stores.close()
    with contextlib.closing(sqlite3.connect(fast_path / "store/state.db")) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = (fast_path / "store/state.db").read_bytes()
    with pytest.raises(StoreError, match=f"newer version of dm-compose .*format {SCHEMA_VERSION + 1}") as caught:
        stores.open(fast_path / "store")
    assert caught.value.hint is not None
    assert "Upgrade" in caught.value.hint
    assert (fast_path / "store/state.db").read_bytes() == before


_OPEN_AS_NOBODY = """
import os, sys
from pathlib import Path
from dm_compose.core.names import DotName
from dm_compose.errors import DmError
from dm_compose.store.local.store import LocalStore
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    LocalStore(Path(sys.argv[1])).create_dot(DotName("mine"))
    print("opened")
except DmError as error:
    print(type(error).__name__, error.message, "|", error.hint)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("state", ["missing", "unreadable", "readable", "half"])
def test_a_store_that_we_may_not_write_to_is_an_error_that_says_so(fast_path: Path, state: str) -> None:
    root = fast_path / "store"
    fast_path.chmod(0o755)
    if state != "missing":
        LocalStore(root).close()
    if state in ("readable", "half"):
        for path in (root, *root.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
    if state == "half":
        root.chmod(0o777)
    said = run_python(_OPEN_AS_NOBODY, str(root)).stdout
    assert said.startswith("StoreError"), said
    assert str(fast_path) in said


@pytest.mark.parametrize("kind", ["text", "zeros", "header", "pages", "directory"])
def test_a_damaged_database_is_an_error_and_not_an_empty_store(local: Stores, fast_path: Path, kind: str) -> None:
    bench = local.bench(fast_path / "store", **directories(fast_path))
    bench.commit()
    local.close()
    path = fast_path / "store/state.db"
    size = path.stat().st_size
    if kind == "text":
        path.write_bytes(b"this is no database. " * 1000)
    elif kind == "zeros":
        path.write_bytes(bytes(size))
    elif kind == "header":
        path.write_bytes(b"\xff" * 100 + path.read_bytes()[100:])
    elif kind == "pages":
        path.write_bytes(path.read_bytes()[:4096] + b"\xff" * (size - 4096))
    else:
        path.unlink()
        path.mkdir()
    with pytest.raises(StoreError) as caught:
        local.open(fast_path / "store").worktree(DOT, MAIN_WORKTREE)
    if kind != "directory":
        assert isinstance(caught.value, DamagedError)
    assert "database" in caught.value.message or "store" in caught.value.message


@pytest.mark.parametrize("damage", ["emptied", "deleted"])
def test_a_lost_database_beside_commits_is_damage_and_not_a_new_store(local: Stores, fast_path: Path, damage: str) -> None:
    local.bench(fast_path / "store", **directories(fast_path)).commit()
    local.close()
    path = fast_path / "store/state.db"
    path.write_bytes(b"") if damage == "emptied" else path.unlink()
    with pytest.raises(DamagedError, match=r"state\.db"):
        local.open(fast_path / "store")


@pytest.mark.parametrize("document", ["", "{}", "[]", "not json", '{"id": 5}'])
def test_a_garbled_document_in_the_database_is_damage(own: Bench, fast_path: Path, document: str) -> None:
    commit = own.commit()
    own.store.begin_session(DOT, MAIN_WORKTREE, commit)
    with contextlib.closing(sqlite3.connect(fast_path / "store/state.db")) as database:
        database.execute("UPDATE commits SET document = ?", (document,))
        database.execute("UPDATE journal SET document = ?", (document,))
        database.commit()
    with pytest.raises(DamagedError):
        own.store.commit(DOT, commit)
    with pytest.raises(DamagedError):
        own.store.unfinished(DOT)


def test_a_missing_object_is_named(bench: Bench, fast_path: Path) -> None:
    commit = bench.commit()
    change_everything(bench)
    objects = fast_path / "store/objects" / commit
    for path in objects.iterdir():
        if path.suffix != ".manifest":
            path.unlink()
    with pytest.raises(DamagedError, match=f"object {commit}/"):
        bench.restore(commit)
    with pytest.raises(DamagedError, match=f"object {commit}/"):
        bench.store.diff_live(*where(bench), commit, {}, None)


GARBLED = {
    "missing": None,
    "empty": b"",
    "text": b"not json",
    "not utf-8": b"\xff\xfe",
    "object": b"{}",
    "list": b"[]",
    "number": b"7",
    "newer": b'{"format":2,"entries":[]}',
    "no root": b'{"format":1,"entries":[]}',
    "short rows": b'{"format":1,"entries":[["","d"]]}',
    "odd rows": b'{"format":1,"entries":[7]}',
    "odd attributes": b'{"format":1,"entries":[["","d",0,0,0,0,0,"",[["one"]]]]}',
}


@pytest.mark.parametrize("data", GARBLED.values(), ids=GARBLED)
def test_a_garbled_manifest_is_damage_and_keeps_nobody_from_saving_what_is_there(
    own: Bench, fast_path: Path, data: bytes | None
) -> None:
    bench = own
    good = bench.commit()
    first = trees(bench)
    change_everything(bench)
    bad = bench.commit()
    for subdot in (DATA, LOGS):
        manifest = fast_path / "store/objects" / bench.store.commit(DOT, bad).subdots[subdot].manifest
        manifest.unlink() if data is None else manifest.write_bytes(data)
    (path_of(bench) / "precious").write_bytes(b"work of today")
    wanted = trees(bench)

    with pytest.raises(DamagedError, match=f"{bad}/"):
        bench.restore(bad)
    check(bench, wanted)
    assert bench.restore(good)
    check(bench, first)

    (path_of(bench) / "precious").write_bytes(b"work of today")
    wanted = trees(bench)
    commit_id, _ = bench.capture()
    assert DATA in bench.store.captured_changes(commit_id, {})
    saved = bench.publish(commit_id)
    (path_of(bench) / "precious").unlink()
    bench.restore(saved)
    check(bench, wanted)


def test_a_garbled_manifest_and_no_index_keep_nobody_from_saving_what_is_there(own: Bench, fast_path: Path) -> None:
    bad = own.commit()
    (fast_path / "store/objects" / own.store.commit(DOT, bad).subdots[DATA].manifest).write_bytes(b"")
    shutil.rmtree(fast_path / "store/index")
    wanted = trees(own)
    saved = own.commit()
    (path_of(own) / "one").unlink()
    own.restore(saved)
    check(own, wanted)


def test_a_missing_object_and_no_index_keep_nobody_from_saving_what_is_there(own: Bench, fast_path: Path) -> None:
    bad = own.commit()
    for path in (fast_path / "store/objects" / bad).iterdir():
        if path.suffix != ".manifest":
            path.unlink()
    shutil.rmtree(fast_path / "store/index")
    wanted = trees(own)
    saved = own.commit()
    (path_of(own) / "one").unlink()
    own.restore(saved)
    check(own, wanted)


def index_files(root: Path) -> list[Path]:
    return sorted((root / "index").rglob("*.index"))


def truths(bench: Bench) -> list[tuple[CommitId, Any]]:
    """Make commits that share most files; return what each holds."""
    states = []
    for number in range(3):
        (path_of(bench) / "one").write_bytes(b"%d" % number * 10_000)
        states.append((bench.commit(), trees(bench)))
    return states


INDEX_DAMAGE: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "emptied": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_bytes(b"not json"),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "bytes": garble,
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "list": lambda path: path.write_bytes(b"[]"),
    "newer": lambda path: path.write_bytes(b'{"format":99,"rows":[]}'),
    "rows": lambda path: path.write_bytes(b'{"format":1,"rows":[7,[],["x"],{}]}'),
    "directory": lambda path: (path.unlink(), path.mkdir()),
    "tree": lambda path: shutil.rmtree(path.parent, ignore_errors=True),
}


@pytest.mark.parametrize("damage", INDEX_DAMAGE.values(), ids=INDEX_DAMAGE)
def test_a_damaged_index_costs_comparing_and_nothing_else(
    local: Stores, fast_path: Path, damage: Callable[[Path], object]
) -> None:
    bench = local.bench(fast_path / "store", **directories(fast_path))
    states = truths(bench)
    for path in index_files(fast_path / "store"):
        if path.exists():
            damage(path)
    again = local.bench(fast_path / "store", data=fast_path / "data", logs=fast_path / "logs")
    commit_id, captured = again.capture()
    again.publish(commit_id)
    states.append((commit_id, states[-1][1]))
    for commit, wanted in states + states[::-1]:
        again.restore(commit)
        check(again, wanted)
    assert captured.copied_bytes == 0, "what did not change is compared and not copied again"


def test_no_single_changed_byte_of_an_index_makes_a_wrong_commit(local: Stores, fast_path: Path) -> None:
    """An index vouches for contents: one that says something else than was written must not be believed."""
    bench = local.bench(fast_path / "store", **directories(fast_path))
    truths(bench)
    (path,) = [p for p in index_files(fast_path / "store") if p.name.startswith("data")]
    good = path.read_bytes()
    wrong = []
    head = bench.head
    assert head is not None
    known = {p: f.entry.ref for p, f in LocalStore(fast_path / "store")._known(DOT, MAIN_WORKTREE, DATA).items()}
    for position in range(len(good)):
        for other in (b"1", b"a"):
            if good[position : position + 1] != other:
                path.write_bytes(good[:position] + other + good[position + 1 :])
                store = LocalStore(fast_path / "store")
                refs = {p: f.entry.ref for p, f in store._indexes.load((DOT, MAIN_WORKTREE, DATA)).items()}
                store.close()
                if refs and refs != known:
                    wrong.append((position, other))
    assert wrong == []


def test_an_index_of_an_older_state_costs_comparing_and_nothing_else(local: Stores, fast_path: Path) -> None:
    bench = local.bench(fast_path / "store", **directories(fast_path))
    first = bench.commit()
    old = trees(bench)
    shutil.copytree(fast_path / "store/index", fast_path / "old index")
    change_everything(bench)
    second = bench.commit()
    new = trees(bench)
    for target, wanted in ((second, new), (first, old), (second, new)):
        shutil.rmtree(fast_path / "store/index")
        shutil.copytree(fast_path / "old index", fast_path / "store/index")
        again = local.bench(fast_path / "store", data=fast_path / "data", logs=fast_path / "logs")
        third = again.commit()
        again.restore(target)
        check(again, wanted)
        again.restore(third)
        again.restore(target)
        check(again, wanted)


def test_an_index_that_cannot_be_written_is_told_and_costs_nothing_else(stores: Stores, fast_path: Path) -> None:
    events: list[Event] = []
    bench = Bench(stores.open(fast_path / "store", events.append), **directories(fast_path))
    (fast_path / "store/index").write_bytes(b"a file where the directory should be")
    commit = bench.commit()
    wanted = trees(bench)
    assert any(e.what == "warning" and "index" in e.text for e in events)
    (path_of(bench) / "one").write_bytes(b"x")
    bench.restore(commit)
    check(bench, wanted)


# Disks that fill up


def small_bench(stores: Stores, small: Mount, tmp_path: Path) -> Bench:
    return stores.bench(small.path / "store", **directories(tmp_path))


def still_works(bench: Bench, root: Path, commit: CommitId, wanted: dict[SubdotName, Any]) -> None:
    """The old commit is intact, nothing is left over, and commits can be made."""
    nothing_left(root, bench)
    assert bench.head == commit
    (path_of(bench) / "one").write_bytes(b"new work")
    now = trees(bench)
    second = bench.commit()
    bench.restore(commit)
    check(bench, wanted)
    bench.restore(second)
    check(bench, now)


def test_a_disk_that_is_full_while_copying_costs_that_commit_only(stores: Stores, small: Mount, tmp_path: Path) -> None:
    bench = small_bench(stores, small, tmp_path)
    first = bench.commit()
    wanted = trees(bench)
    (path_of(bench) / "large").write_bytes(os.urandom(20 * MIB))
    with pytest.raises(DiskFullError) as caught:
        bench.prepare()
    assert caught.value.hint
    (path_of(bench) / "large").unlink()
    still_works(bench, small.path / "store", first, wanted)


def test_a_disk_that_is_full_during_capture_costs_that_commit_only(local: Stores, small: Mount, tmp_path: Path) -> None:
    bench = small_bench(local, small, tmp_path)
    first = bench.commit()
    wanted = trees(bench)
    (path_of(bench) / "large").write_bytes(b"")
    commit_id = bench.prepare()
    (path_of(bench) / "large").write_bytes(os.urandom(20 * MIB))  # the early copy is brought up to date
    (path_of(bench) / "larger").write_bytes(os.urandom(20 * MIB))  # a new file is copied
    with pytest.raises(DiskFullError):
        bench.store.capture(commit_id)
    (path_of(bench) / "large").unlink()
    (path_of(bench) / "larger").unlink()
    bench.store.abandon(commit_id)
    still_works(bench, small.path / "store", first, wanted)


@pytest.mark.parametrize("free", [0, 8 << 10, 40 << 10])
def test_a_disk_that_is_full_when_a_commit_is_published_costs_that_commit_only(
    local: Stores, small: Mount, tmp_path: Path, free: int
) -> None:
    bench = small_bench(local, small, tmp_path)
    first = bench.commit()
    wanted = trees(bench)
    for number in range(400):
        (path_of(bench) / f"{number:0200}").touch()
    commit_id, _ = bench.capture()
    ballast = leave_free(small.path, free)
    with pytest.raises(DiskFullError):
        bench.publish(commit_id)
    with contextlib.suppress(DiskFullError):
        bench.store.abandon(commit_id)
    ballast.unlink()
    for entry in bench.store.unfinished(DOT):  # as the next command does
        bench.store.abandon(entry.id)
    for path in path_of(bench).glob("0*"):
        path.unlink()
    still_works(bench, small.path / "store", first, wanted)


def test_a_store_on_a_full_disk_can_be_read(local: Stores, small: Mount, tmp_path: Path) -> None:
    bench = small_bench(local, small, tmp_path)
    commit = bench.commit()
    leave_free(small.path, 0)
    assert [c.id for c in bench.store.log(DOT, commit)] == [commit]
    assert bench.differing(commit) == []
    token = bench.store.lock("shop", "me", 0)
    bench.store.unlock(token)


def test_a_store_that_cannot_be_opened_because_the_disk_is_full_says_so(stores: Stores, tmp_path: Path) -> None:
    """SQLite needs some pages to share its index. (On a full tmpfs the kernel kills the process at that point: no test.)"""
    with filesystems.mounted(available(lambda: filesystems.make_small("ext4"))) as small:
        stores.bench(small.path / "store", **directories(tmp_path)).commit()
        stores.close()
        leave_free(small.path, 0)
        with pytest.raises(DiskFullError):
            stores.open(small.path / "store").dots()


def test_every_call_on_a_full_disk_says_that_it_is_full_or_works(local: Stores, small: Mount, tmp_path: Path) -> None:
    bench = small_bench(local, small, tmp_path)
    commit = bench.commit()
    (path_of(bench) / "one").write_bytes(b"y" * 20_000)
    leave_free(small.path, 0)
    for call in (
        lambda: bench.store.create_dot(DotName("new")),
        lambda: bench.store.set_places(DOT, MAIN_WORKTREE, {DATA: "x" * 100_000}),
        lambda: bench.store.mark_quiet(*where(bench)),
        lambda: bench.store.note(DOT, MAIN_WORKTREE, "x" * 100_000, commit),
        lambda: bench.begin(commit),
        lambda: bench.store.begin_session(DOT, MAIN_WORKTREE, commit),
        lambda: bench.commit(),
        lambda: bench.store.lock("new lock", "x" * 100_000, 0),
    ):
        with contextlib.suppress(DiskFullError):
            call()


@pytest.mark.parametrize("free", [0, 700 << 10, 2500 << 10])
def test_a_volume_that_is_full_during_a_restore_is_restored_once_there_is_space(
    local: Stores, small: Mount, tmp_path: Path, free: int
) -> None:
    tree = small.path / "data"
    tree.mkdir()
    rng = random.Random(4)
    for number in range(4):
        (tree / f"{number}").write_bytes(rng.randbytes(MIB))
    bench = local.bench(tmp_path / "store", data=tree)
    commit = bench.commit()
    wanted = describe(tree)
    for number in (0, 1):
        (tree / f"{number}").unlink()
    (tree / "2").write_bytes(b"")
    (tree / "3").write_bytes(rng.randbytes(MIB))
    ballast = leave_free(small.path, free)
    with pytest.raises(DiskFullError, match="restoring data"):
        bench.restore(commit)
    ballast.unlink()
    assert bench.differing(commit) == [DATA]
    (entry,) = bench.store.unfinished(DOT)
    bench.store.restore(entry.id, DATA, {DATA: str(tree)})
    bench.store.sync_restored(entry.id)
    bench.store.end_restore(entry.id)
    assert differences(wanted, describe(tree)) == []
    assert bench.differing(commit) == []


# Power cuts


def test_what_was_published_survives_a_power_cut(local: Stores, disk: Mount) -> None:
    (disk.path / "data").mkdir()
    bench = local.bench(disk.path / "store", data=disk.path / "data")
    rng = random.Random(6)
    states = []
    for number in range(3):
        for name in range(20):
            if name % 3 == number:
                (disk.path / f"data/{name}").write_bytes(rng.randbytes(30_000))
        states.append((bench.commit(), describe(disk.path / "data")))
    (disk.path / "data/1").write_bytes(b"never written back")
    with filesystems.mounted(disk.power_cut()) as after:
        revived = local.bench(after.path / "store", data=after.path / "data")
        assert revived.head == states[-1][0]
        assert revived.store.unfinished(DOT) == []
        for commit, wanted in states:
            revived.restore(commit)
            assert differences(wanted, describe(after.path / "data")) == []
        local.close()


def test_what_was_restored_and_synced_survives_a_power_cut(local: Stores, disk: Mount) -> None:
    (disk.path / "data").mkdir()
    for name in range(20):
        (disk.path / f"data/{name}").write_bytes(os.urandom(30_000))
    bench = local.bench(disk.path / "store", data=disk.path / "data")
    commit = bench.commit()
    wanted = describe(disk.path / "data")
    for name in range(0, 20, 3):
        (disk.path / f"data/{name}").unlink()
    for name in range(1, 20, 3):
        (disk.path / f"data/{name}").write_bytes(b"changed")
    bench.restore(commit, move=True)
    with filesystems.mounted(disk.power_cut()) as after:
        revived = local.bench(after.path / "store", data=after.path / "data")
        assert differences(wanted, describe(after.path / "data")) == []
        assert revived.store.unfinished(DOT) == []
        assert revived.differing(commit) == []
        local.close()


def test_a_restore_cut_off_before_the_sync_is_still_in_the_journal_and_can_be_finished(local: Stores, disk: Mount) -> None:
    (disk.path / "data").mkdir()
    for name in range(20):
        (disk.path / f"data/{name}").write_bytes(os.urandom(30_000))
    bench = local.bench(disk.path / "store", data=disk.path / "data")
    commit = bench.commit()
    wanted = describe(disk.path / "data")
    for name in range(20):
        (disk.path / f"data/{name}").write_bytes(b"changed" * name)
    entry = bench.begin(commit, move=True)
    bench.store.restore(entry, DATA, {DATA: str(disk.path / "data")})
    with filesystems.mounted(disk.power_cut()) as after:
        revived = local.bench(after.path / "store", data=after.path / "data")
        (journal,) = revived.store.unfinished(DOT)
        revived.store.restore(journal.id, DATA, {DATA: str(after.path / "data")})
        revived.store.sync_restored(journal.id)
        revived.store.end_restore(journal.id)
        assert differences(wanted, describe(after.path / "data")) == []
        local.close()


def test_a_power_cut_in_the_middle_of_a_commit_leaves_the_commits_before_it(local: Stores, disk: Mount) -> None:
    (disk.path / "data").mkdir()
    (disk.path / "data/file").write_bytes(os.urandom(100_000))
    bench = local.bench(disk.path / "store", data=disk.path / "data")
    first = bench.commit()
    wanted = describe(disk.path / "data")
    (disk.path / "data/file").write_bytes(os.urandom(100_000))
    bench.prepare()
    with filesystems.mounted(disk.power_cut()) as after:
        revived = local.bench(after.path / "store", data=after.path / "data")
        for entry in revived.store.unfinished(DOT):
            revived.store.abandon(entry.id)
        nothing_left(after.path / "store", revived)
        assert revived.head == first
        revived.restore(first)
        assert differences(wanted, describe(after.path / "data")) == []
        local.close()


# The server by itself


def test_the_server_answers_until_its_input_ends(fast_path: Path) -> None:
    from dm_compose.store.helper.frames import read_frame, write_frame
    from dm_compose.store.helper.server import serve

    source, sink = io.BytesIO(), io.BytesIO()
    calls = [("hello", {}), ("create_dot", {"dot": "shop"})]
    for number, (method, arguments) in enumerate(calls):
        write_frame(source, {"call": number, "target": 0, "method": method, "arguments": arguments})
    source.seek(0)
    serve(fast_path / "store", source, sink)
    sink.seek(0)
    assert sorted([read_frame(sink), read_frame(sink)], key=str) == [
        {"call": 0, "result": None},
        {"call": 1, "result": None, "attached": []},
    ]
    assert LocalStore(fast_path / "store").dots() == ["shop"]


@pytest.mark.parametrize("bad", [{"dot": "../etc"}, {"dot": 5}, {}, {"dot": "x", "more": 1}])
def test_arguments_that_are_no_names_reach_no_store(fast_path: Path, bad: dict[str, object]) -> None:
    from dm_compose.store.helper.frames import read_frame, write_frame
    from dm_compose.store.helper.server import serve

    source, sink = io.BytesIO(), io.BytesIO()
    write_frame(source, {"call": 0, "target": 0, "method": "hello", "arguments": {}})
    write_frame(source, {"call": 1, "target": 0, "method": "create_dot", "arguments": bad})
    source.seek(0)
    serve(fast_path / "store", source, sink)
    sink.seek(0)
    answers = [read_frame(sink), read_frame(sink)]
    assert [("error" in (a or {})) for a in sorted(answers, key=lambda a: a["call"] if a else 0)] == [False, True]
    assert LocalStore(fast_path / "store").dots() == []
