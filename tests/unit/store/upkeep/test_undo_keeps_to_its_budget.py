"""The reflog keeps states for `undo` as long, and in as many bytes, as the store's settings say; `gc` drops the oldest."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from dm_compose.core.commit import CommitDraft
from dm_compose.core.names import MAIN_WORKTREE, CommitId, RefName
from dm_compose.core.upkeep import UNDO_DAYS, UNDO_SIZE, Holder
from dm_compose.state import Database
from dm_compose.store.local.store import LocalStore
from tests.support.crashing import stops
from tests.support.keeping import LONG_AGO, OTHER, TAG, Kept, soon
from tests.support.stores import DATA, DOT, Bench
from tests.support.trees import allocated
from tests.support.worktrees import FEATURE, MASTER

KIB = 1 << 10
EACH = 200 * KIB
RANDOM = random.Random(13)


def reset(kept: Kept, size: int = EACH) -> CommitId:
    """Reset a change of so many bytes away. Return the hidden commit that keeps it."""
    kept.write("big", RANDOM.randbytes(size))
    wanted = kept.state()
    assert kept.bench.head is not None
    saved = kept.bench.go("reset", MASTER, kept.bench.head)
    assert saved is not None
    kept.truth[saved] = wanted
    return saved


def saved(kept: Kept) -> list[CommitId]:
    """Return the hidden commits that the reflog names, the newest first."""
    return [entry.saved for entry in kept.store.reflog(DOT, MAIN_WORKTREE) if entry.saved is not None]


def held(kept: Kept) -> dict[CommitId, int]:
    """Return what each hidden commit holds by its entry of the reflog."""
    sizes = {entry.number: entry.size_bytes for entry in kept.store.holdings(LONG_AGO).entries}
    return {e.saved: sizes[e.number] for e in kept.store.reflog(DOT, MAIN_WORKTREE) if e.saved is not None}


def by_holder(kept: Kept, since: datetime | None = LONG_AGO) -> dict[Holder, int]:
    return {found.holder: found.size_bytes for found in kept.store.holdings(since).held}


def on_disk(home: Path) -> int:
    return sum(allocated(path) for path in (home / "store/objects").rglob("*") if path.is_file())


def grown_old(kept: Kept, days: int) -> None:
    """Have the present entries of the reflog be so many days older."""
    database = Database(kept.home / "store/state.db")
    for _, _, entry in database.moves():
        older = (entry.at - timedelta(days=days)).isoformat()
        database._write("UPDATE reflog SET at = ? WHERE number = ?", older, entry.number)
    database.close()


# What an entry holds


def test_an_entry_holds_what_comes_free_with_it_when_all_older_ones_are_gone(kept: Kept) -> None:
    commits = [reset(kept) for _ in range(3)]
    told = held(kept)
    assert all(EACH <= told[commit] <= EACH + 64 * KIB for commit in commits)
    for commit in commits:
        entry = next(e for e in kept.store.reflog(DOT, MAIN_WORKTREE) if e.saved == commit)
        before = on_disk(kept.home)
        freed = kept.collect(entry.at + timedelta(microseconds=1))
        assert freed.size_bytes == told[commit] == before - on_disk(kept.home)


def test_what_two_entries_need_counts_for_the_newer_one(kept: Kept) -> None:
    first = reset(kept)
    kept.bench.restore(first)
    kept.write("little", b"x" * 100)
    again = kept.bench.go("reset", MASTER, kept.bench.head)
    told = held(kept)
    assert told[first] < EACH <= told[again]
    kept.store.set_tag(DOT, TAG, first)
    told = held(kept)
    assert told[first] == 0, "a tag holds it, and its file"
    assert told[again] < EACH
    assert by_holder(kept)[Holder.TAGS] >= EACH


def test_a_commit_that_was_reset_away_counts_with_its_ancestors(kept: Kept) -> None:
    first = kept.bench.head
    for _ in range(2):
        kept.write("big", RANDOM.randbytes(EACH))
        kept.commit()
    kept.bench.go("reset", MASTER, first)
    (reset_entry, *others) = kept.store.holdings(LONG_AGO).entries
    assert reset_entry.number == kept.store.reflog(DOT, MAIN_WORKTREE)[0].number
    assert reset_entry.size_bytes >= 2 * EACH
    assert all(entry.size_bytes == 0 for entry in others)


# What holds the space of the store


def test_each_block_counts_once_for_the_first_holder_and_the_sum_is_what_the_store_takes(kept: Kept) -> None:
    def make(branch: str | None, *, hidden: bool = False) -> CommitId:
        kept.write("big", RANDOM.randbytes(EACH))
        entry = kept.bench.prepare()
        kept.store.capture(entry)
        draft = CommitDraft("c", "tester", hidden=hidden, branch=RefName(branch) if branch else None)
        commit = kept.note(kept.store.publish(entry, draft).id)
        kept.store.abandon(entry)
        return commit

    for branch in ("failed/run/test", "seed/0123", "topic"):
        make(branch)
    kept.store.set_tag(DOT, TAG, make(None, hidden=True))
    kept.store.set_settled(DOT, kept.bench.head, make(None, hidden=True))
    make(None, hidden=True)
    kept.write("big", RANDOM.randbytes(EACH))
    kept.bench.checkout(FEATURE, kept.bench.head)
    for _ in range(2):
        reset(kept)
    kept.store.space()
    found = kept.store.holdings(LONG_AGO)
    sizes = {h.holder: (h.size_bytes, h.commits) for h in found.held}
    assert [h.holder for h in found.held] == list(Holder)
    one = [Holder.TAGS, Holder.SEEDS, Holder.FAILED, Holder.UNCOMMITTED, Holder.SETTLED, Holder.NOBODY]
    assert [sizes[holder][1] for holder in one] == [1] * len(one)
    assert all(EACH <= sizes[holder][0] < EACH + 64 * KIB for holder in one), sizes
    assert sizes[Holder.BRANCHES][1] == 2
    assert sizes[Holder.UNDO][1] == 2
    assert 2 * EACH <= sizes[Holder.UNDO][0] == sum(entry.size_bytes for entry in found.entries)
    assert sizes[Holder.NOBODY][0] == kept.store.garbage(LONG_AGO).size_bytes
    assert found.size_bytes - sizes[Holder.RECORDS][0] == on_disk(kept.home)
    assert found.size_bytes == kept.store.space().size_bytes
    all_gone = {h.holder: h.size_bytes for h in kept.store.holdings(soon()).held}
    assert all_gone[Holder.UNDO] == 0
    assert all_gone[Holder.NOBODY] == kept.store.garbage(soon()).size_bytes


def test_blocks_within_a_file_are_shared_out_too(kept: Kept) -> None:
    """A large file of which the head needs some blocks, an entry others, and nobody the rest."""
    path = Path(kept.bench.directories[DATA]) / "table"
    path.write_bytes(RANDOM.randbytes(2 << 20))
    kept.aside()
    with open(path, "r+b") as file:
        file.write(RANDOM.randbytes(1 << 20))
    kept.commit()
    with open(path, "r+b") as file:
        file.seek((1 << 20) + (1 << 19))
        file.write(RANDOM.randbytes(1 << 19))
    wanted = kept.state()
    kept.truth[kept.bench.go("reset", MASTER, kept.bench.head)] = wanted
    kept.store.space()
    found = kept.store.holdings(LONG_AGO)
    sizes = {h.holder: h.size_bytes for h in found.held}
    assert found.size_bytes == kept.store.space().size_bytes
    assert sizes[Holder.NOBODY] == kept.store.garbage(LONG_AGO).size_bytes
    told = {h.holder: h.size_bytes for h in kept.store.holdings(soon()).held}
    assert told[Holder.NOBODY] == kept.store.garbage(soon()).size_bytes
    before = on_disk(kept.home)
    freed = kept.store.collect(soon()).size_bytes
    assert freed == before - on_disk(kept.home) == told[Holder.NOBODY]


def test_what_the_store_takes_is_told_anew_after_each_change(kept: Kept) -> None:
    def told_right() -> None:
        for _ in range(2):
            found = kept.store.space()
            records = sum(h.size_bytes for h in kept.store.holdings(LONG_AGO).held if h.holder == Holder.RECORDS)
            assert found.size_bytes - records == on_disk(kept.home)
        disk = os.statvfs(kept.home)
        assert found.disk_bytes == disk.f_blocks * disk.f_frsize
        assert found.free_bytes > 0

    told_right()
    path = Path(kept.bench.directories[DATA]) / "table"
    path.write_bytes(RANDOM.randbytes(2 << 20))
    kept.aside()
    told_right()
    with open(path, "r+b") as file:
        file.write(RANDOM.randbytes(1 << 20))
    kept.commit()
    told_right()
    assert kept.store.collect(soon()).size_bytes >= 1 << 20
    told_right()
    cache = kept.home / "store/index/sizes.json"
    for damage in (b"", b"{", b"[1]", b'{"a": 3}', b'{"a": [1, 2]}'):
        cache.write_bytes(damage)
        told_right()


def test_a_batch_is_looked_into_once_until_it_changes(own: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """So `status` does not walk through the store."""
    looked: list[str] = []
    files = own.bench.local._objects.files
    monkeypatch.setattr(own.bench.local._objects, "files", lambda batch: looked.append(batch) or files(batch))
    first = own.bench.head
    for wanted in ([first], [], []):
        looked.clear()
        own.store.space()
        assert not own.store.is_undo_over_budget()
        assert looked == wanted
    own.write("big", RANDOM.randbytes(EACH))
    second = own.commit()
    looked.clear()
    own.store.space()
    assert looked == [second]


# What a collection by the budget drops


def test_the_oldest_entries_go_when_all_hold_more_than_the_budget(kept: Kept) -> None:
    commits = [reset(kept) for _ in range(6)]
    assert not kept.store.collect(None), "a tenth of the disk is enough"
    assert saved(kept) == commits[::-1]
    kept.store.set_setting(UNDO_SIZE, f"{4 * EACH // KIB + 150} KiB")
    before = on_disk(kept.home)
    told = kept.store.garbage(None)
    found = kept.store.collect(None)
    assert found == told
    assert set(found.commits) == {*commits[:3]}, "room for an eighth of the budget is left"
    assert found.entries >= 3
    assert found.size_bytes == before - on_disk(kept.home)
    assert saved(kept) == commits[:2:-1]
    assert kept.wrong() == set()
    assert not kept.store.collect(None)


def test_an_entry_goes_with_all_that_are_older_also_with_small_ones(kept: Kept) -> None:
    small = reset(kept, 8 * KIB)
    big = reset(kept, 4 * EACH)
    newest = reset(kept)
    kept.store.set_setting(UNDO_SIZE, f"{3 * EACH // KIB} KiB")
    assert set(kept.store.collect(None).commits) == {small, big}
    assert saved(kept) == [newest]


def test_entries_that_are_too_old_go_whatever_they_hold(kept: Kept) -> None:
    old = [reset(kept, 8 * KIB) for _ in range(2)]
    grown_old(kept, 31)
    newer = [reset(kept, 8 * KIB) for _ in range(2)]
    kept.store.set_setting(UNDO_DAYS, "32")
    assert not kept.store.collect(None)
    kept.store.set_setting(UNDO_DAYS, None)
    assert set(kept.store.collect(None).commits) == set(old)
    assert saved(kept) == newer[::-1]


@pytest.mark.parametrize("days", [0, 400])
def test_the_newest_entry_stays_whatever_it_holds_and_however_old_it_is(kept: Kept, days: int) -> None:
    older, newest = reset(kept), reset(kept)
    grown_old(kept, days)
    kept.store.set_setting(UNDO_SIZE, "0")
    assert kept.store.collect(None).commits == (older,)
    assert saved(kept) == [newest]
    kept.write("one", b"committed since")
    kept.commit()
    kept.write("one", b"and again")
    kept.commit()
    kept.store.collect(None)
    assert [e.action for e in kept.store.reflog(DOT, MAIN_WORKTREE)] == ["commit", "commit", "reset"], "they hold nothing"
    kept.store.set_setting(UNDO_DAYS, "0")
    kept.store.collect(None)
    assert [e.action for e in kept.store.reflog(DOT, MAIN_WORKTREE)] == ["commit", "reset"], "`undo` would go back by the second"
    assert kept.wrong() == set()


def test_entries_that_hold_nothing_stay_while_nothing_would_come_free_with_them(kept: Kept) -> None:
    newest = reset(kept)
    before = kept.store.reflog(DOT, MAIN_WORKTREE)
    assert len(before) == 2
    kept.store.set_setting(UNDO_SIZE, "0")
    assert not kept.store.collect(None)
    assert kept.store.reflog(DOT, MAIN_WORKTREE) == before
    assert saved(kept) == [newest]


def named_by_a_tag(kept: Kept, commit: CommitId) -> None:
    kept.store.set_tag(DOT, TAG, commit)


def named_by_a_branch(kept: Kept, commit: CommitId) -> None:
    kept.store.add_branch(DOT, RefName("topic"), commit)


def named_by_another_dots_branch(kept: Kept, commit: CommitId) -> None:
    kept.store.create_dot(OTHER)
    kept.store.share_commit(DOT, commit, OTHER)
    kept.store.add_branch(OTHER, RefName("topic"), commit)


def named_by_a_clone(kept: Kept, commit: CommitId) -> None:
    kept.store.create_dot(OTHER, owner="a test run")
    kept.store.share_commit(DOT, commit, OTHER)


def named_by_a_restore(kept: Kept, commit: CommitId) -> None:
    kept.bench.begin(commit)


def named_by_a_session(kept: Kept, commit: CommitId) -> None:
    assert kept.bench.head is not None
    kept.store.begin_session(DOT, MAIN_WORKTREE, kept.bench.head)


NAMES = [
    named_by_a_tag,
    named_by_a_branch,
    named_by_another_dots_branch,
    named_by_a_clone,
    named_by_a_restore,
    named_by_a_session,
]


@pytest.mark.parametrize("name", NAMES)
def test_what_anything_else_names_stays_whatever_the_budget(kept: Kept, name: Callable[[Kept, CommitId], None]) -> None:
    commit = reset(kept)
    name(kept, commit)
    reset(kept)
    kept.store.set_setting(UNDO_SIZE, "0")
    kept.store.set_setting(UNDO_DAYS, "0")
    kept.store.collect(None)
    dot = OTHER if OTHER in kept.store.dots() else DOT
    kept.store.export(dot, commit, str(kept.home / "other"))
    assert (kept.home / "other" / DATA / "big").stat().st_size == EACH
    assert kept.store.check({}, repair=False).sound


def test_a_commit_of_a_clone_stays_in_its_original_where_further_clones_find_it(kept: Kept) -> None:
    kept.store.create_dot(OTHER, owner="a test run")
    aside = kept.aside()
    kept.store.share_commit(DOT, aside, OTHER)
    assert kept.store.collect(soon()).commits == ()
    assert kept.store.commit(DOT, aside).id == aside
    kept.store.delete_dot(OTHER)
    assert kept.store.collect(soon()).commits == (aside,)


def test_the_uncommitted_state_of_a_branch_stays_whatever_the_budget(kept: Kept) -> None:
    kept.write("big", RANDOM.randbytes(EACH))
    kept.bench.checkout(FEATURE, kept.bench.head)
    left = kept.store.uncommitted(DOT)[MASTER]
    for _ in range(2):
        kept.write("big", RANDOM.randbytes(EACH))
        kept.bench.go("reset", FEATURE, kept.bench.head)
    kept.store.set_setting(UNDO_SIZE, "0")
    assert len(kept.store.collect(None).commits) == 1
    kept.store.export(DOT, left, str(kept.home / "other"))


# When it is time for a collection


def test_a_collection_is_due_when_the_budget_may_be_used_up_and_not_before(kept: Kept) -> None:
    assert not kept.store.is_undo_over_budget()
    kept.store.set_setting(UNDO_SIZE, f"{3 * EACH // KIB} KiB")
    due = []
    for _ in range(12):
        reset(kept)
        due.append(kept.store.is_undo_over_budget())
        if due[-1]:
            kept.store.collect(None)
            assert not kept.store.is_undo_over_budget()
            assert by_holder(kept)[Holder.UNDO] <= 3 * EACH
    assert due[:3] == [False, False, True]
    assert sum(due) < 12
    kept.write("big", RANDOM.randbytes(8 * EACH))
    kept.commit()
    assert not kept.store.is_undo_over_budget(), "commits of a branch do not count"


def test_what_a_test_run_has_put_aside_counts(kept: Kept) -> None:
    """It comes free when the run has ended."""
    session = kept.store.begin_session(DOT, MAIN_WORKTREE, kept.bench.head)
    kept.store.set_setting(UNDO_SIZE, f"{EACH // KIB} KiB")
    kept.write("big", RANDOM.randbytes(EACH))
    aside = kept.aside()
    assert kept.store.is_undo_over_budget()
    assert not kept.store.collect(None)
    assert not kept.store.is_undo_over_budget(), "nobody tries in vain each time"
    kept.store.close_entry(session)
    kept.write("big", RANDOM.randbytes(EACH))
    kept.bench.go("reset", MASTER, kept.bench.head)
    assert kept.store.is_undo_over_budget()
    assert aside in kept.store.collect(None).commits


def test_a_collection_is_due_once_a_day_while_entries_are_too_old(kept: Kept) -> None:
    reset(kept, 8 * KIB)
    reset(kept, 8 * KIB)
    assert not kept.store.is_undo_over_budget()
    grown_old(kept, 31)
    assert kept.store.is_undo_over_budget()
    kept.store.collect(None)
    assert not kept.store.is_undo_over_budget(), "the newest is too old, and stays"
    kept.store.set_setting("undo.collection", "torn")
    assert kept.store.is_undo_over_budget()


def test_a_collection_by_the_budget_that_is_killed_anywhere_leaves_the_newest_and_all_that_is_named(fast_path: Path) -> None:
    def opened(root: Path) -> Kept:
        (root / "data").mkdir(parents=True, exist_ok=True)
        return Kept(Bench(LocalStore(root / "store"), **{str(DATA): root / "data"}), root)

    made = opened(fast_path / "made")
    made.write("one", b"seed")
    head = made.commit()
    tagged = reset(made)
    made.store.set_tag(DOT, TAG, tagged)
    dropped = [reset(made) for _ in range(2)]
    newest = reset(made)
    made.store.set_setting(UNDO_SIZE, "1 KiB")
    made.store.close()
    seen = set()
    for root in stops(fast_path / "made", fast_path / "case", lambda root: opened(root).store.collect(None)):
        kept = opened(root)
        kept.truth = made.truth
        assert kept.commits() >= {head, tagged, newest}
        seen.add(len(kept.commits() & set(dropped)))
        assert kept.wrong() == set(), "each commit that is listed is whole"
        assert saved(kept)[0] == newest
        kept.store.collect(None)
        assert kept.commits() == {head, tagged, newest}
        assert kept.wrong() == set()
        assert kept.store.check({}, repair=False).sound
        assert {name for name in kept.files() if not name.endswith(".sum")} == kept.needed()
        kept.store.close()
    assert seen == {0, 2}
