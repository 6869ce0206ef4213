"""A reference means one commit, or the error says why not."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dm_compose.core.commit import Commit
from dm_compose.core.names import MAIN_WORKTREE, CommitId, DotName, RefName, WorktreeName
from dm_compose.errors import (
    AmbiguousError,
    NotFoundError,
    UsageError,
)
from dm_compose.state import Database
from tests.support.stores import DOT, Bench


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
