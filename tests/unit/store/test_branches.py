"""Branches, tags, worktrees outside the store, settings and registered volumes, for a store in this process and behind a pipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.commit import Move, Worktree
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, CommitId, DotName, RefName, WorktreeName
from dm_compose.errors import DamagedError, DmError, ExistsError, InUseError, NotFoundError, UsageError
from dm_compose.store.api import Store
from tests.support.stores import DATA, DOT, Bench, Stores
from tests.support.trees import describe, differences

MASTER = DEFAULT_BRANCH
FEATURE = RefName("feature/x")
OTHER = RefName("other")
SECOND = WorktreeName("second")
NONE = CommitId("0" * 32)
NO_DOT = DotName("nope")


@pytest.fixture
def bench(stores: Stores, fast_path: Path) -> Bench:
    """A store with one commit on master."""
    (fast_path / "data").mkdir()
    bench = stores.bench(fast_path / "store", data=fast_path / "data")
    write(bench, "one")
    bench.commit("first")
    return bench


def data(bench: Bench) -> Path:
    return Path(bench.directories[DATA])


def write(bench: Bench, text: str, name: str = "file") -> None:
    (data(bench) / name).write_text(text * 1000)


def state(bench: Bench) -> Any:
    return describe(data(bench))


def same(bench: Bench, wanted: Any) -> None:
    assert differences(wanted, state(bench)) == []


def newest(bench: Bench) -> tuple[object, ...]:
    entry = bench.store.reflog(DOT, MAIN_WORKTREE)[0]
    return entry.action, entry.left, entry.branch, entry.old, entry.new, entry.saved


# Leaving a branch and coming back


def test_what_is_uncommitted_stays_with_its_branch_and_is_back_on_arrival(bench: Bench) -> None:
    head = bench.head
    write(bench, "uncommitted")
    (data(bench) / "new").mkdir()
    dirty = state(bench)
    saved = bench.checkout(FEATURE, head)
    assert saved is not None
    assert bench.store.uncommitted(DOT) == {MASTER: saved}
    assert bench.differing(head) == [], "a new branch begins at its commit, not with the other's changes"
    write(bench, "feature")
    bench.commit("on feature")
    assert bench.checkout(MASTER) is None
    same(bench, dirty)
    assert bench.store.uncommitted(DOT) == {}
    assert (bench.branch, bench.head) == (MASTER, head)


def test_every_branch_keeps_its_own_uncommitted_state(bench: Bench) -> None:
    first = bench.head
    states = {}
    for branch in (MASTER, FEATURE, OTHER):
        if branch != MASTER:
            bench.checkout(branch, first)
        write(bench, f"dirty {branch}")
        states[branch] = state(bench)
    for branch in (MASTER, OTHER, FEATURE, MASTER, FEATURE):
        bench.checkout(branch)
        same(bench, states[branch])
        assert bench.store.uncommitted(DOT).keys() == states.keys() - {branch}


def test_a_branch_that_is_left_clean_has_nothing_uncommitted(bench: Bench) -> None:
    bench.checkout(FEATURE, bench.head)
    assert bench.store.uncommitted(DOT) == {}
    bench.checkout(MASTER)
    assert bench.store.uncommitted(DOT) == {}


def test_uncommitted_state_that_was_committed_on_arrival_does_not_come_back(bench: Bench) -> None:
    first = bench.head
    write(bench, "dirty")
    bench.checkout(FEATURE, first)
    bench.checkout(MASTER)
    committed = bench.commit("the dirt")
    clean = state(bench)
    bench.checkout(FEATURE)
    assert bench.store.uncommitted(DOT) == {}
    bench.checkout(MASTER)
    assert bench.head == committed
    same(bench, clean)


def test_an_old_uncommitted_state_does_not_come_back_when_its_branch_is_left_clean_later(bench: Bench) -> None:
    """A worktree may come to stand on a branch without its uncommitted state having been put in place."""
    first = bench.head
    write(bench, "old dirt")
    old = bench.checkout(FEATURE, first)
    bench.store.add_worktree(Worktree(DOT, SECOND, MASTER, None, {DATA: "volume"}, "project"), first)
    assert bench.store.uncommitted(DOT) == {MASTER: old}, "only a tree is filled by the store itself"
    bench.worktree = SECOND
    bench.checkout(OTHER, first)
    assert bench.store.uncommitted(DOT) == {}


def test_the_uncommitted_state_of_the_branch_a_restore_ends_on_is_consumed(bench: Bench) -> None:
    """For example when a worktree that was added on the branch is filled with it."""
    first = bench.head
    write(bench, "dirt")
    dirty = state(bench)
    saved = bench.checkout(FEATURE, first)
    bench.store.add_worktree(Worktree(DOT, SECOND, MASTER, None), first)
    bench.worktree = SECOND
    bench.finish(bench.store.begin_restore(DOT, SECOND, saved, [], Move("worktree add", MASTER, first), None))
    same(bench, dirty)
    assert bench.store.uncommitted(DOT) == {}
    assert (bench.branch, bench.head) == (MASTER, first)


def test_a_visit_and_a_reset_leave_no_uncommitted_state(bench: Bench) -> None:
    first = bench.head
    write(bench, "two")
    second = bench.commit()
    write(bench, "dirt")
    dirty = state(bench)
    saved = bench.go("reset", MASTER, first)
    assert bench.store.uncommitted(DOT) == {}
    assert newest(bench) == ("reset", MASTER, MASTER, second, first, saved)
    bench.restore(second)
    assert bench.store.uncommitted(DOT) == {}
    assert bench.head == first
    bench.go("undo", MASTER, second, saved)
    same(bench, dirty)
    assert bench.head == second


def test_a_checkout_is_logged_with_where_it_left_from_and_can_be_undone_by_it(bench: Bench) -> None:
    first = bench.head
    write(bench, "dirt")
    dirty = state(bench)
    saved = bench.checkout(FEATURE, first)
    assert newest(bench) == ("checkout", MASTER, FEATURE, first, first, saved)
    entry = bench.store.reflog(DOT, MAIN_WORKTREE)[0]
    bench.go("undo", entry.left, entry.old, entry.saved)
    same(bench, dirty)
    assert bench.branch == MASTER
    assert bench.store.uncommitted(DOT) == {}


def test_nothing_moves_before_the_restore_ends(bench: Bench) -> None:
    first = bench.head
    write(bench, "dirt")
    captured, _ = bench.capture()
    saved = bench.publish(captured, hidden=True)
    entry = bench.store.begin_restore(DOT, MAIN_WORKTREE, first, [], Move("checkout", FEATURE, first, saved), captured)
    bench.put_in_place(entry)
    bench.store.sync_restored(entry)
    assert (bench.branch, bench.store.branches(DOT), bench.store.uncommitted(DOT)) == (MASTER, {MASTER: first}, {})
    bench.store.close_entry(entry)
    assert (bench.branch, bench.store.branches(DOT), bench.store.uncommitted(DOT)) == (MASTER, {MASTER: first}, {})
    assert len(bench.store.reflog(DOT, MAIN_WORKTREE)) == 1


@pytest.mark.parametrize("wrong", ["target", "head", "saved", "worktree"])
def test_a_move_to_what_does_not_exist_begins_nothing(bench: Bench, wrong: str) -> None:
    """It could never be ended, and the journal would hold it for ever."""
    first = bench.head
    names = {"target": first, "head": first, "saved": first, "worktree": MAIN_WORKTREE, wrong: NONE}
    move = Move("checkout", FEATURE, names["head"], names["saved"])
    with pytest.raises(NotFoundError, match="000000000000"):
        bench.store.begin_restore(DOT, WorktreeName(names["worktree"]), names["target"], [], move, None)
    assert bench.store.unfinished(DOT) == []


def test_a_session_in_a_worktree_that_does_not_exist_begins_nothing(bench: Bench) -> None:
    for worktree, target in ((SECOND, bench.head), (MAIN_WORKTREE, NONE)):
        with pytest.raises(NotFoundError):
            bench.store.begin_session(DOT, worktree, target)
    assert bench.store.unfinished(DOT) == []


# Branches


def test_a_new_branch_names_a_commit_and_moves_nothing(bench: Bench) -> None:
    first = bench.head
    second = bench.commit()
    bench.store.add_branch(DOT, FEATURE, first)
    assert bench.store.branches(DOT) == {FEATURE: first, MASTER: second}
    assert bench.store.resolve(DOT, MAIN_WORKTREE, FEATURE) == first
    assert bench.branch == MASTER


def test_a_branch_is_made_once(bench: Bench) -> None:
    bench.store.add_branch(DOT, FEATURE, bench.head)
    for name in (FEATURE, MASTER):
        with pytest.raises(ExistsError, match=name) as caught:
            bench.store.add_branch(DOT, name, bench.head)
        assert caught.value.exit_code == 15


def test_a_branch_that_has_no_commit_yet_is_taken_by_who_stands_on_it(stores: Stores, fast_path: Path) -> None:
    (fast_path / "data").mkdir()
    bench = stores.bench(fast_path / "store", data=fast_path / "data")
    aside = bench.aside()
    with pytest.raises(ExistsError):
        bench.store.add_branch(DOT, MASTER, aside)
    assert bench.store.branches(DOT) == {}


def test_a_branch_that_was_begun_has_the_next_commit_as_its_first_and_no_file_moves(bench: Bench) -> None:
    first, before = bench.store.branches(DOT)[MASTER], state(bench)
    for _ in range(2):
        bench.store.begin_branch(DOT, MAIN_WORKTREE, FEATURE)
    assert bench.store.worktree(DOT, MAIN_WORKTREE).head is None
    assert bench.store.branches(DOT) == {MASTER: first}
    same(bench, before)
    made = bench.commit("of its own")
    assert bench.store.branches(DOT) == {MASTER: first, FEATURE: made}
    assert bench.store.commit(DOT, made).parent is None
    with pytest.raises(ExistsError):
        bench.store.begin_branch(DOT, MAIN_WORKTREE, MASTER)


def test_a_branch_that_another_worktree_has_cannot_be_begun(bench: Bench) -> None:
    bench.store.add_worktree(Worktree(DOT, SECOND, FEATURE, None), bench.store.branches(DOT)[MASTER])
    with pytest.raises(InUseError):
        bench.store.begin_branch(DOT, MAIN_WORKTREE, FEATURE)


def test_a_branch_of_nothing_is_not_made(bench: Bench) -> None:
    for dot, commit in ((DOT, NONE), (NO_DOT, bench.head)):
        with pytest.raises(NotFoundError) as caught:
            bench.store.add_branch(dot, FEATURE, commit)
        assert caught.value.exit_code == 5
    assert bench.store.branches(DOT).keys() == {MASTER}


def test_a_removed_branch_is_gone_and_what_it_held_is_in_the_reflog(bench: Bench) -> None:
    first = bench.head
    bench.checkout(FEATURE, first)
    lost = bench.commit("only on feature")
    bench.checkout(MASTER)
    bench.store.remove_branch(DOT, FEATURE)
    assert bench.store.branches(DOT) == {MASTER: first}
    assert newest(bench) == (f"branch -d {FEATURE}", MASTER, MASTER, first, first, lost)
    assert bench.store.commit(DOT, lost).message == "only on feature"
    with pytest.raises(NotFoundError):
        bench.store.resolve(DOT, MAIN_WORKTREE, FEATURE)
    bench.store.add_branch(DOT, FEATURE, first)


def test_a_removed_branch_notes_its_uncommitted_state_which_leads_to_its_commits(bench: Bench) -> None:
    first = bench.head
    bench.checkout(FEATURE, first)
    lost = bench.commit("only on feature")
    write(bench, "dirt")
    dirty = state(bench)
    saved = bench.checkout(MASTER)
    bench.store.remove_branch(DOT, FEATURE)
    assert bench.store.uncommitted(DOT) == {}
    assert newest(bench)[-1] == saved
    assert [c.id for c in bench.store.log(DOT, saved)] == [saved, lost, first]
    bench.restore(saved)
    same(bench, dirty)


def test_a_branch_that_was_removed_and_made_again_has_nothing_uncommitted(bench: Bench) -> None:
    first = bench.head
    bench.checkout(FEATURE, first)
    write(bench, "dirt")
    bench.checkout(MASTER)
    bench.store.remove_branch(DOT, FEATURE)
    bench.store.add_branch(DOT, FEATURE, first)
    bench.checkout(FEATURE)
    assert bench.differing(first) == []


def test_a_branch_without_commits_that_was_left_dirty_can_be_removed(stores: Stores, fast_path: Path) -> None:
    (fast_path / "data").mkdir()
    bench = stores.bench(fast_path / "store", data=fast_path / "data")
    start = bench.aside()
    write(bench, "dirt")
    saved = bench.checkout(FEATURE, start)
    assert (bench.store.branches(DOT), bench.store.uncommitted(DOT)) == ({FEATURE: start}, {MASTER: saved})
    with pytest.raises(ExistsError):
        bench.store.add_branch(DOT, MASTER, start)
    bench.store.remove_branch(DOT, MASTER)
    assert bench.store.uncommitted(DOT) == {}
    assert newest(bench)[-1] == saved


def test_a_branch_that_is_checked_out_cannot_be_removed(bench: Bench) -> None:
    bench.store.add_worktree(Worktree(DOT, SECOND, FEATURE, None), bench.head)
    for name, worktree in ((MASTER, "main"), (FEATURE, "second")):
        with pytest.raises(InUseError, match=f"checked out in worktree {worktree}") as caught:
            bench.store.remove_branch(DOT, name)
        assert caught.value.exit_code == 8
        assert caught.value.hint
    assert bench.store.branches(DOT).keys() == {MASTER, FEATURE}


def test_a_branch_that_does_not_exist_cannot_be_removed(bench: Bench) -> None:
    before = bench.store.reflog(DOT, MAIN_WORKTREE)
    for dot in (DOT, NO_DOT):
        with pytest.raises(NotFoundError) as caught:
            bench.store.remove_branch(dot, FEATURE)
        assert caught.value.hint
    assert bench.store.reflog(DOT, MAIN_WORKTREE) == before


# Tags


def test_a_tag_names_a_commit_for_ever(bench: Bench) -> None:
    first = bench.head
    bench.store.set_tag(DOT, RefName("v1.0"), first)
    bench.commit()
    assert bench.store.tags(DOT) == {"v1.0": first}
    assert bench.store.resolve(DOT, MAIN_WORKTREE, "v1.0") == first


def test_a_tag_is_made_once(bench: Bench) -> None:
    bench.store.set_tag(DOT, RefName("v1"), bench.head)
    second = bench.commit()
    with pytest.raises(ExistsError, match="v1") as caught:
        bench.store.set_tag(DOT, RefName("v1"), second)
    assert caught.value.hint
    assert bench.store.tags(DOT)["v1"] != second


def test_a_tag_moves_only_where_that_is_wanted_and_the_reflog_names_its_commit_of_before(bench: Bench) -> None:
    first = bench.head
    assert first is not None
    bench.store.set_tag(DOT, RefName("v1"), first)
    second = bench.commit()
    bench.store.set_tag(DOT, RefName("v1"), second, move=True)
    assert bench.store.tags(DOT)["v1"] == second
    noted = bench.store.reflog(DOT, MAIN_WORKTREE)[0]
    assert (noted.action, noted.saved, noted.old, noted.new) == ("tag -f v1", first, second, second)
    bench.store.set_tag(DOT, RefName("v2"), second, move=True)
    assert bench.store.tags(DOT)["v2"] == second


def test_a_removed_tag_is_gone_and_its_name_is_free(bench: Bench) -> None:
    bench.store.set_tag(DOT, RefName("v1"), bench.head)
    bench.store.remove_tag(DOT, RefName("v1"))
    assert bench.store.tags(DOT) == {}
    with pytest.raises(NotFoundError, match="v1") as caught:
        bench.store.remove_tag(DOT, RefName("v1"))
    assert caught.value.hint
    bench.store.set_tag(DOT, RefName("v1"), bench.head)


def test_a_tag_of_nothing_is_not_made(bench: Bench) -> None:
    for dot, commit in ((DOT, NONE), (NO_DOT, bench.head)):
        with pytest.raises(NotFoundError):
            bench.store.set_tag(dot, RefName("v1"), commit)
    assert bench.store.tags(DOT) == {}


def test_a_branch_and_a_tag_may_have_one_name_and_the_branch_is_meant(bench: Bench) -> None:
    first = bench.head
    second = bench.commit()
    bench.store.set_tag(DOT, FEATURE, first)
    bench.store.add_branch(DOT, FEATURE, second)
    assert bench.store.resolve(DOT, MAIN_WORKTREE, FEATURE) == second
    bench.store.remove_branch(DOT, FEATURE)
    assert bench.store.resolve(DOT, MAIN_WORKTREE, FEATURE) == first


# Worktrees


def second(bench: Bench, branch: RefName = FEATURE, **more: Any) -> Worktree:
    return Worktree(DOT, SECOND, branch, None, {DATA: "shop2_data"}, "shop2", **more)


def test_a_worktree_stands_on_its_new_branch_at_the_start(bench: Bench) -> None:
    first = bench.head
    bench.commit()
    bench.store.add_worktree(second(bench), first)
    found = bench.store.worktree(DOT, SECOND)
    assert (found.branch, found.head, found.places, found.project, found.tree) == (
        FEATURE,
        first,
        {DATA: "shop2_data"},
        "shop2",
        False,
    )
    assert bench.store.worktrees(DOT).keys() == {MAIN_WORKTREE, SECOND}
    assert bench.store.branches(DOT)[FEATURE] == first
    assert bench.store.current(DOT) == MAIN_WORKTREE


def test_a_worktree_on_an_old_branch_stands_on_its_head(bench: Bench) -> None:
    first = bench.head
    bench.store.add_branch(DOT, FEATURE, first)
    bench.store.add_worktree(second(bench), first)
    assert bench.store.worktree(DOT, SECOND).head == first


def test_worktrees_commit_to_their_own_branches_and_have_their_own_reflogs(bench: Bench) -> None:
    first = bench.head
    bench.store.add_worktree(second(bench), first)
    bench.worktree = SECOND
    made = bench.commit("in the second")
    assert bench.store.branches(DOT) == {MASTER: first, FEATURE: made}
    assert [e.new for e in bench.store.reflog(DOT, SECOND)] == [made]
    assert [e.new for e in bench.store.reflog(DOT, MAIN_WORKTREE)] == [first]
    assert bench.store.resolve(DOT, SECOND, "HEAD") == made
    assert bench.store.resolve(DOT, MAIN_WORKTREE, "HEAD") == first


def test_the_worktree_of_a_project_is_found_and_the_main_one_is_not(bench: Bench) -> None:
    bench.store.add_worktree(second(bench), bench.head)
    found = bench.store.worktree_of("shop2")
    assert found == bench.store.worktree(DOT, SECOND)
    assert bench.store.worktree_of("shop") is None
    assert bench.store.worktree_of(str(DOT)) is None


def test_a_branch_can_be_checked_out_once(bench: Bench) -> None:
    first = bench.head
    with pytest.raises(InUseError, match="main") as caught:
        bench.store.add_worktree(second(bench, MASTER), first)
    assert caught.value.hint
    bench.store.add_worktree(second(bench), first)
    third = Worktree(DOT, WorktreeName("third"), FEATURE, None)
    with pytest.raises(InUseError, match="second"):
        bench.store.add_worktree(third, first)
    with pytest.raises(InUseError, match="second"):
        bench.store.begin_restore(DOT, MAIN_WORKTREE, first, [], Move("checkout", FEATURE, first), None)
    assert bench.store.unfinished(DOT) == []
    bench.store.remove_worktree(DOT, SECOND)
    bench.store.add_worktree(third, first)


def test_a_worktree_is_made_once(bench: Bench) -> None:
    bench.store.add_worktree(second(bench), bench.head)
    for name in (SECOND, MAIN_WORKTREE):
        with pytest.raises(ExistsError, match=name):
            bench.store.add_worktree(Worktree(DOT, name, OTHER, None), bench.head)
    assert OTHER not in bench.store.branches(DOT)


def test_a_worktree_at_nothing_is_not_made(bench: Bench) -> None:
    with pytest.raises(NotFoundError):
        bench.store.add_worktree(second(bench), NONE)
    with pytest.raises(NotFoundError):
        bench.store.add_worktree(Worktree(NO_DOT, SECOND, FEATURE, None), bench.head)
    assert bench.store.worktrees(DOT).keys() == {MAIN_WORKTREE}
    assert bench.store.branches(DOT).keys() == {MASTER}


def test_a_removed_worktree_is_gone_with_its_reflog_and_its_branch_stays(bench: Bench) -> None:
    first = bench.head
    bench.store.add_worktree(second(bench), first)
    bench.worktree = SECOND
    made = bench.commit()
    bench.store.remove_worktree(DOT, SECOND)
    assert bench.store.worktrees(DOT).keys() == {MAIN_WORKTREE}
    assert bench.store.reflog(DOT, SECOND) == []
    assert bench.store.branches(DOT)[FEATURE] == made
    assert bench.store.worktree_of("shop2") is None
    with pytest.raises(NotFoundError):
        bench.store.remove_worktree(DOT, SECOND)
    bench.store.add_worktree(second(bench), made)
    assert bench.store.reflog(DOT, SECOND) == []


def test_the_main_worktree_cannot_be_removed(bench: Bench) -> None:
    with pytest.raises(InUseError, match="main"):
        bench.store.remove_worktree(DOT, MAIN_WORKTREE)
    assert MAIN_WORKTREE in bench.store.worktrees(DOT)


def test_worktrees_of_a_dot_that_does_not_exist_are_not_found(bench: Bench) -> None:
    for call in (bench.store.worktrees, bench.store.current):
        with pytest.raises(NotFoundError, match="nope"):
            call(NO_DOT)


# Settings


def test_settings_are_remembered_changed_and_forgotten(bench: Bench, stores: Stores, fast_path: Path) -> None:
    assert bench.store.settings() == {}
    bench.store.set_setting("b", "1\n\u20ac")
    bench.store.set_setting("a", "")
    assert bench.store.settings()["b"] == "1\n\u20ac"
    with pytest.raises(UsageError, match="not text"):
        bench.store.set_setting("b", "\udcff")
    bench.store.set_setting("b", "2")
    assert stores.open(fast_path / "store").settings() == {"a": "", "b": "2"}
    for _ in range(2):
        bench.store.set_setting("a", None)
    assert bench.store.settings() == {"b": "2"}


# Volumes


def test_volumes_are_registered_and_forgotten(bench: Bench, stores: Stores, fast_path: Path) -> None:
    assert bench.store.volumes() == {}
    for _ in range(2):
        bench.store.add_volume("shop.db", DOT)
    bench.store.add_volume("shop", DOT)
    assert stores.open(fast_path / "store").volumes() == {"shop": DOT, "shop.db": DOT}
    for _ in range(2):
        bench.store.remove_volume("shop")
    assert bench.store.volumes() == {"shop.db": DOT}


def test_a_volume_of_a_dot_that_does_not_exist_is_not_registered(bench: Bench) -> None:
    with pytest.raises(NotFoundError, match="nope"):
        bench.store.add_volume("nope", NO_DOT)
    assert bench.store.volumes() == {}


# Deleting a dot


def test_a_deleted_dot_is_gone_with_everything_that_was_its(bench: Bench) -> None:
    first = bench.head
    other = DotName("kept")
    bench.store.create_dot(other)
    write(bench, "dirt")
    bench.checkout(FEATURE, first)
    bench.store.set_tag(DOT, RefName("v1"), first)
    bench.store.add_volume("shop", DOT)
    bench.store.add_volume("kept", other)
    bench.store.add_worktree(second(bench, OTHER), first)
    bench.store.begin_session(DOT, MAIN_WORKTREE, first)
    live = state(bench)
    bench.store.delete_dot(DOT)
    assert bench.store.dots() == [other]
    assert bench.store.volumes() == {"kept": other}
    assert bench.store.unfinished(DOT) == []
    assert (bench.store.branches(DOT), bench.store.tags(DOT), bench.store.uncommitted(DOT)) == ({}, {}, {})
    assert bench.store.reflog(DOT, MAIN_WORKTREE) == bench.store.reflog(DOT, SECOND) == []
    assert bench.store.worktree_of("shop2") is None
    for call in (lambda: bench.store.commit(DOT, first), lambda: bench.store.worktree(DOT, MAIN_WORKTREE)):
        with pytest.raises(NotFoundError):
            call()
    same(bench, live)
    bench.store.delete_dot(DOT)


def test_a_dot_that_is_made_anew_knows_nothing_of_the_deleted_one(bench: Bench) -> None:
    first = bench.head
    bench.store.delete_dot(DOT)
    bench.store.create_dot(DOT)
    assert bench.head is None
    assert bench.store.branches(DOT) == {}
    with pytest.raises(NotFoundError):
        bench.store.resolve(DOT, MAIN_WORKTREE, first[:12])
    wanted = state(bench)
    again = bench.commit()
    (data(bench) / "file").unlink()
    bench.restore(again)
    same(bench, wanted)
    assert [c.id for c in bench.store.log(DOT, again)] == [again]


# Errors


def test_no_wrong_name_is_taken_for_damage(bench: Bench) -> None:
    calls: list[Callable[[Store], object]] = [
        lambda s: s.add_branch(DOT, FEATURE, NONE),
        lambda s: s.set_tag(DOT, FEATURE, NONE),
        lambda s: s.note(NO_DOT, MAIN_WORKTREE, "x", NONE),
        lambda s: s.set_places(NO_DOT, MAIN_WORKTREE, {}),
        lambda s: s.add_worktree(second(bench), NONE),
        lambda s: s.add_worktree(second(bench, tree=True), NONE),
        lambda s: s.begin_switch(DOT, SECOND, [], "switch"),
        lambda s: s.begin_switch(NO_DOT, MAIN_WORKTREE, [], "switch"),
        lambda s: s.export(DOT, NONE, "/nowhere"),
        lambda s: s.add_volume("x", NO_DOT),
    ]
    for call in calls:
        with pytest.raises(DmError) as caught:
            call(bench.store)
        assert not isinstance(caught.value, DamagedError), caught.value
        assert caught.value.exit_code in (2, 5)


def test_arriving_at_uncommitted_files_forgets_that_the_same_files_were_quiet_before(bench: Bench) -> None:
    """Of two branches one may have committed what is uncommitted on the other."""
    first = bench.commit()
    (Path(bench.directories[DATA]) / "new").write_bytes(b"x")
    second = bench.commit()
    bench.store.mark_quiet(DOT, MAIN_WORKTREE, bench.directories)
    assert bench.store.changed_since_quiet(DOT, MAIN_WORKTREE, bench.directories, {}) == []
    bench.store.add_branch(DOT, RefName("other"), first)
    move = Move("checkout", RefName("other"), first)
    entry = bench.store.begin_restore(DOT, MAIN_WORKTREE, second, [], move, None)
    bench.store.end_restore(entry)  # no subdot differs, so none is restored
    assert bench.store.changed_since_quiet(DOT, MAIN_WORKTREE, bench.directories, {}) == [DATA]
