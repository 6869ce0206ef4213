"""`gc` keeps what is named, and frees all else."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta, timezone
from typing import Any

import pytest

from dm_compose.core.commit import Move, Worktree
from dm_compose.core.names import MAIN_WORKTREE, CommitId
from dm_compose.state import Database
from dm_compose.store.local import indexes
from tests.support.keeping import LONG_AGO, OTHER, TAG, Kept
from tests.support.stores import DATA, DOT, entry_of
from tests.support.trees import describe, differences
from tests.support.worktrees import FEATURE, MASTER, SECOND


def named_by_a_tag(kept: Kept) -> tuple[CommitId, Callable[[], object]]:
    commit = kept.aside()
    kept.store.set_tag(DOT, TAG, commit)
    return commit, lambda: kept.store.remove_tag(DOT, TAG)


def named_by_a_branch(kept: Kept) -> tuple[CommitId, Callable[[], object]]:
    commit = kept.aside()
    kept.store.add_branch(DOT, FEATURE, commit)
    return commit, lambda: kept.store.remove_branch(DOT, FEATURE)


def named_as_uncommitted(kept: Kept) -> tuple[CommitId, Callable[[], object]]:
    wanted = kept.state()
    commit = kept.bench.checkout(FEATURE, kept.bench.head)
    kept.truth[commit] = wanted
    return commit, lambda: kept.store.remove_branch(DOT, MASTER)


def named_as_the_target_of_a_restore(kept: Kept) -> tuple[CommitId, Callable[[], object]]:
    commit = kept.aside()
    entry = kept.bench.begin(commit)
    return commit, lambda: kept.store.close_entry(entry)


def named_as_saved_by_a_restore(kept: Kept) -> tuple[CommitId, Callable[[], object]]:
    commit, head = kept.aside(), kept.bench.head
    entry = kept.store.begin_restore(DOT, MAIN_WORKTREE, head, [], Move("reset", MASTER, head, commit), None)
    return commit, lambda: kept.store.close_entry(entry)


def named_as_the_head_of_a_restore(kept: Kept) -> tuple[CommitId, Callable[[], object]]:
    commit, head = kept.aside(), kept.bench.head
    entry = kept.store.begin_restore(DOT, MAIN_WORKTREE, head, [], Move("checkout", FEATURE, commit), None)
    return commit, lambda: kept.store.close_entry(entry)


def named_by_a_session(kept: Kept) -> tuple[CommitId, Callable[[], object]]:
    commit = kept.aside()
    entry = kept.store.begin_session(DOT, MAIN_WORKTREE, commit)
    return commit, lambda: kept.store.close_entry(entry)


def named_by_its_own_entry(kept: Kept) -> tuple[CommitId, Callable[[], object]]:
    commit = kept.commit(hidden=True)
    return commit, lambda: kept.store.abandon(entry_of(commit))


def named_by_a_descendant(kept: Kept) -> tuple[CommitId, Callable[[], object]]:
    commit = kept.commit()
    kept.write("one", b"later")
    later = kept.commit()
    kept.store.set_tag(DOT, TAG, later)
    first = kept.store.commit(DOT, commit).parent
    kept.bench.go("reset", MASTER, first)
    return commit, lambda: kept.store.remove_tag(DOT, TAG)


def named_by_another_worktrees_branch(kept: Kept) -> tuple[CommitId, Callable[[], object]]:
    commit = kept.aside()
    kept.store.add_worktree(Worktree(DOT, SECOND, FEATURE, None), commit)

    def forget() -> None:
        kept.store.remove_worktree(DOT, SECOND)
        kept.store.remove_branch(DOT, FEATURE)

    return commit, forget


NAMED = [
    named_by_a_tag,
    named_by_a_branch,
    named_as_uncommitted,
    named_as_the_target_of_a_restore,
    named_as_saved_by_a_restore,
    named_as_the_head_of_a_restore,
    named_by_a_session,
    named_by_its_own_entry,
    named_by_a_descendant,
    named_by_another_worktrees_branch,
]


@pytest.mark.parametrize("name", NAMED)
def test_what_is_named_is_kept_for_as_long_as_it_is(kept: Kept, name: Callable[[Kept], Any]) -> None:
    kept.write("only here", b"x" * 5000)
    commit, forget = name(kept)
    for _ in range(2):
        assert commit not in kept.collect().commits
    assert commit in kept.commits()
    forget()
    assert commit in kept.collect().commits
    assert commit not in kept.commits()
    assert set(kept.files()) == kept.needed(), "its objects went with it, and no others"


def test_what_the_reflog_names_is_kept_until_the_entry_is_too_old(kept: Kept) -> None:
    kept.write("only here", b"x")
    old = kept.commit()
    kept.write("only here", b"y")
    wanted = kept.state()
    first = kept.store.commit(DOT, old).parent
    saved = kept.bench.go("reset", MASTER, first)
    kept.truth[saved] = wanted
    reset = kept.store.reflog(DOT, MAIN_WORKTREE)[0]
    assert not kept.collect(LONG_AGO)
    assert not kept.collect(reset.at), "an entry of that very instant is kept"
    assert kept.store.reflog(DOT, MAIN_WORKTREE) == [reset], "older ones are forgotten, what they name is named otherwise"
    assert kept.commits() == {first, old, saved}
    assert set(kept.collect(reset.at + timedelta(microseconds=1)).commits) == {old, saved}
    assert kept.store.reflog(DOT, MAIN_WORKTREE) == []


def test_instants_are_compared_as_instants(kept: Kept) -> None:
    """Not as texts: zones, and whole seconds without a fraction."""
    at = kept.store.reflog(DOT, MAIN_WORKTREE)[0].at
    for hours in (-12, 0, 14):
        kept.collect(at.astimezone(timezone(timedelta(hours=hours))))
        assert len(kept.store.reflog(DOT, MAIN_WORKTREE)) == 1
    kept.collect(at.replace(microsecond=0))
    assert len(kept.store.reflog(DOT, MAIN_WORKTREE)) == 1
    kept.collect(at.replace(microsecond=0) + timedelta(seconds=1))
    assert kept.store.reflog(DOT, MAIN_WORKTREE) == []


def test_a_dot_that_is_lent_to_tests_keeps_what_they_have_put_aside(kept: Kept) -> None:
    """They know it by its id alone, and hold the dot's lock while they use it only."""
    session = kept.store.begin_session(DOT, MAIN_WORKTREE, kept.bench.head)
    kept.write("one", b"a seed of one test")
    commit = kept.aside()
    assert not kept.collect()
    kept.bench.restore(commit)
    kept.store.close_entry(session)
    assert kept.collect().commits == (commit,)


def test_a_note_keeps_what_it_names(kept: Kept) -> None:
    kept.write("one", b"precious")
    saved = kept.aside()
    kept.store.note(DOT, MAIN_WORKTREE, "saved", saved)
    assert not kept.collect(LONG_AGO)
    assert kept.collect().commits == (saved,)


def test_a_removed_branch_can_be_brought_back_until_the_reflog_forgets_it(kept: Kept) -> None:
    first = kept.bench.head
    kept.bench.checkout(FEATURE, first)
    kept.write("one", b"on feature")
    lost = kept.commit()
    kept.bench.checkout(MASTER)
    kept.store.remove_branch(DOT, FEATURE)
    assert not kept.collect(LONG_AGO)
    assert kept.collect().commits == (lost,)


def test_an_object_that_a_hidden_commit_brought_stays_while_another_commit_uses_it(kept: Kept) -> None:
    kept.write("big", b"b" * 20_000)
    hidden = kept.aside()
    commit = kept.commit()
    assert {r.partition("/")[0] for r in kept.needed()} >= {hidden}, "the commit shares the hidden one's object"
    assert kept.collect().commits == (hidden,)
    assert kept.commits() >= {commit}
    assert set(kept.files()) == kept.needed()


@pytest.mark.parametrize("visited", [True, False])
def test_a_commit_after_gc_holds_its_own_files(kept: Kept, visited: bool) -> None:
    """The index knows the live files as those of a commit that is gone."""
    kept.write("big", b"b" * 20_000)
    hidden = kept.aside()
    if visited:
        kept.write("big", b"c")
        kept.bench.restore(hidden)
    assert hidden in kept.collect().commits
    commit = kept.commit()
    assert kept.wrong() == set()
    kept.write("big", b"later")
    kept.bench.restore(commit)
    assert kept.state() == kept.truth[commit]


def test_a_dot_made_anew_after_gc_commits_its_own_files(kept: Kept) -> None:
    """Even where a killed deletion has left the index of the old one."""
    shutil.copytree(kept.home / "store/index", kept.home / "index")
    kept.store.delete_dot(DOT)
    shutil.rmtree(kept.home / "store/index")
    shutil.copytree(kept.home / "index", kept.home / "store/index")
    kept.collect()
    assert kept.files() == {}
    kept.store.create_dot(DOT)
    kept.commit()
    assert kept.wrong() == set()


def test_an_index_of_files_that_stay_known_is_kept(kept: Kept) -> None:
    kept.write("big", b"b" * 20_000)
    kept.aside()
    kept.collect()
    commit_id, _ = kept.bench.capture()
    made = kept.store.commit(DOT, kept.bench.publish(commit_id))
    assert made.new_bytes == 20_000, "and not the files of the commit that stays"


def twice(kept: Kept, commit: CommitId) -> None:
    """Have the same commit in another dot, as a transfer does, on its master."""
    if OTHER not in kept.store.dots():
        kept.store.create_dot(OTHER)
    found = kept.store.commit(DOT, commit)
    database = Database(kept.home / "store/state.db")
    database.add_commit(replace(found, dot=OTHER, parent=None))
    database.set_ref(OTHER, "branch", MASTER, commit)
    database.close()


def test_a_commit_of_two_dots_keeps_its_objects_while_either_needs_it(kept: Kept) -> None:
    kept.write("one", b"x")
    commit = kept.aside()
    twice(kept, commit)
    found = kept.collect()
    assert (found.commits, found.objects) == ((commit,), 0)
    kept.store.export(OTHER, commit, str(kept.home / "other"))
    assert differences(kept.truth[commit][DATA], describe(kept.home / "other/data")) == []
    kept.store.delete_dot(OTHER)
    assert kept.collect().objects > 0
    assert set(kept.files()) == kept.needed()


def test_abandoning_a_commit_that_another_dot_has_frees_nothing(kept: Kept) -> None:
    commit = kept.aside()
    twice(kept, commit)
    kept.collect()
    kept.store.abandon(entry_of(commit))
    kept.store.export(OTHER, commit, str(kept.home / "other"))


def test_abandoning_a_commit_a_second_time_frees_nothing_that_others_share(kept: Kept) -> None:
    kept.write("big", b"b" * 20_000)
    hidden = kept.aside()
    commit = kept.commit()
    kept.collect()
    kept.store.abandon(entry_of(hidden))
    assert set(kept.files()) == kept.needed()
    assert kept.wrong() == set()
    assert kept.commits() >= {commit}


def test_a_deleted_dot_is_garbage_but_for_what_others_use(kept: Kept) -> None:
    kept.write("one", b"only here")
    kept.commit()
    first = kept.store.commit(DOT, kept.bench.head).parent
    twice(kept, first)
    kept.store.delete_dot(DOT)
    kept.collect()
    assert set(kept.files()) == kept.needed()
    kept.store.export(OTHER, first, str(kept.home / "other"))
    kept.store.delete_dot(OTHER)
    assert kept.collect()
    assert list((kept.home / "store/objects").iterdir()) == []


def test_what_is_freed_is_told_in_bytes_on_the_disk(kept: Kept) -> None:
    kept.write("big", b"b" * 100_000)
    kept.aside()
    before = {name: (kept.home / "store/objects" / name).stat().st_blocks * 512 for name in kept.files()}
    found = kept.collect()
    assert found.size_bytes == sum(size for name, size in before.items() if name not in kept.files())
    assert found.size_bytes >= 100_000


def test_digests_of_freed_objects_are_forgotten(own: Kept) -> None:
    own.write("one", b"x")
    hidden = own.aside()
    own.store.check({}, repair=False)
    assert own.bench.local._database.digests(hidden) != {}
    own.collect()
    assert own.bench.local._database.digests(hidden) == {}
    assert own.store.check({}, repair=False).first_seen == 0


def test_gc_frees_space_on_a_full_disk(own: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    own.write("big", b"b" * 20_000)
    own.aside()
    monkeypatch.setattr(indexes, "save_index", full)
    assert own.collect().objects == 2
    monkeypatch.undo()
    own.commit()
    assert own.wrong() == set()
