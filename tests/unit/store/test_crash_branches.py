"""A process killed at any change of the disk while it works on branches, worktrees, trees or the whole store leaves the old state
or the new one once the next command has recovered, and loses nothing that is named.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.commit import COMMIT, SWITCH, Move, Worktree
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, CommitId, DotName, RefName, SubdotName, WorktreeName
from dm_compose.store.local.store import LocalStore
from tests.support.crashing import copy, stops
from tests.support.stores import DOT, TreeBench
from tests.support.trees import describe, differences

MASTER, FEATURE, OTHER = DEFAULT_BRANCH, RefName("feature"), RefName("other")
SECOND, THIRD = WorktreeName("second"), WorktreeName("third")
DB, X = SubdotName("db"), SubdotName("x")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
NEW = DotName("new")


class Place:
    """A store below a directory, opened anew for each look."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "store"

    def bench(self, worktree: WorktreeName = MAIN_WORKTREE) -> TreeBench:
        return TreeBench(LocalStore(self.home), worktree)

    @property
    def trees(self) -> Path:
        return self.home / "trees/shop"

    def recover(self) -> None:
        """Do the first thing that the next command does."""
        bench = self.bench()
        for dot in bench.store.dots():
            for entry in bench.store.unfinished(dot):
                bench.worktree = entry.worktree
                if entry.operation == COMMIT:
                    bench.store.abandon(entry.id)
                elif entry.operation == SWITCH:
                    bench.store.switch(entry.id)
                    bench.store.close_entry(entry.id)
                else:
                    bench.finish(entry.id)
            assert bench.store.unfinished(dot) == []
        bench.store.close()

    def seen(self) -> dict[str, Any]:
        """Return all that a user sees of the dot."""
        store = LocalStore(self.home)
        if DOT not in store.dots():
            store.close()
            return {}
        worktrees = store.worktrees(DOT)
        found: dict[str, Any] = {
            "branches": store.branches(DOT),
            "uncommitted": store.uncommitted(DOT).keys(),
            "tags": store.tags(DOT),
            "worktrees": worktrees,
            "current": store.current(DOT),
            "followed": os.readlink(self.trees / ".current"),
            "actions": {name: [(e.action, e.new) for e in store.reflog(DOT, name)] for name in worktrees},
            "trees": {name: describe(self.trees / name) for name, worktree in worktrees.items() if worktree.tree},
        }
        store.close()
        return found

    def sound(self) -> None:
        """Nothing is lost or damaged, and all that is left over goes with gc."""
        store = LocalStore(self.home)
        store.collect(LONG_AGO)
        assert store.check({}, repair=False).damage == ()
        assert not store.garbage(LONG_AGO)
        assert list((self.home / "incoming").iterdir()) == []
        for dot in store.dots():
            registered = {name for name, worktree in store.worktrees(dot).items() if worktree.tree}
            there = self.home / "trees" / dot
            assert {p.name for p in there.iterdir()} == registered | {".current"}
        store.close()

    def exported(self, commit: CommitId) -> Any:
        """Return what a commit holds."""
        store = LocalStore(self.home)
        place = self.root / "export"
        shutil.rmtree(place, ignore_errors=True)
        store.export(DOT, commit, str(place))
        store.close()
        return describe(place)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A tree dot with two commits on master, a dirty tree; a tag; uncommitted state of `feature`; a second tree on `other`."""
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else tmp_path_factory.getbasetemp()
    root = base / f"dm-compose-test-{os.getpid()}-template"
    place = Place(root)
    root.mkdir()
    bench = place.bench()
    (bench.top / "readme").write_bytes(b"readme" * 1000)
    db = Path(bench.store.make_subdot(DOT, MAIN_WORKTREE, DB))
    (db / "table").write_bytes(b"t" * 9000)
    os.link(db / "table", db / "same")
    first = bench.commit("first")
    bench.store.set_tag(DOT, RefName("v1"), first)
    (db / "table").write_bytes(b"u" * 9000)
    (bench.top / "x").mkdir()
    (bench.top / "x/file").write_bytes(b"x" * 5000)
    second = bench.commit("second")
    bench.checkout(FEATURE, first)
    (bench.top / "db/table").write_bytes(b"dirt of feature")
    (bench.top / "x").write_bytes(b"a file where master has a subdot")
    bench.checkout(MASTER)
    bench.store.add_worktree(Worktree(DOT, SECOND, OTHER, None, tree=True), second)
    other = TreeBench(bench.store, SECOND)
    (other.top / "db/other").write_bytes(b"o" * 7000)
    other.commit("on other")
    (other.top / "db/dirt").write_bytes(b"dirt of other")
    (bench.top / "readme").write_bytes(b"dirt of master" * 100)
    (bench.top / "x/file").unlink()
    bench.store.check({}, repair=False)
    bench.store.close()
    yield root
    shutil.rmtree(root)


def every_stop(
    template: Path, place: Path, work: Callable[[Place], object], *, at_least: int = 3
) -> Iterator[tuple[Place, dict[str, Any]]]:
    """Yield the recovered place, and what is seen of it, for every stop of `work`."""
    for root in stops(template, place / "case", lambda root: work(Place(root)), at_least=at_least):
        case = Place(root)
        case.recover()
        case.sound()
        yield case, case.seen()


def old_or_new(
    template: Path, place: Path, work: Callable[[Place], object], *, at_least: int = 3
) -> Iterator[tuple[Place, dict[str, Any], bool]]:
    """Check that every stop of `work` is recovered to what was before or to what is after; yield place, what is seen of it, and
    whether it is the new state.
    """
    old = Place(template).seen()
    finished = Place(place / "finished")
    copy(template, finished.root)
    work(finished)
    new = finished.seen()
    assert mixed(old, new)
    found = set()
    for case, seen in every_stop(template, place, work, at_least=at_least):
        is_new = not mixed(new, seen)
        assert is_new or not mixed(old, seen), (mixed(old, seen), mixed(new, seen))
        found.add(is_new)
        yield case, seen, is_new
    assert found == {True, False}


def mixed(one: dict[str, Any], two: dict[str, Any]) -> dict[str, Any]:
    """Return what differs between two states; commits made in two runs have two ids, and are the same for that."""
    found = {key: (one[key], two[key]) for key in one if key != "trees" and one[key] != two[key]}
    for name in {*one["trees"], *two["trees"]}:
        if lines := differences(one["trees"].get(name, {}), two["trees"].get(name, {})):
            found[f"tree {name}"] = lines
    return found


def test_a_checkout_killed_anywhere_and_what_was_uncommitted_before_it_is_kept(template: Path, fast_path: Path) -> None:
    dirty = Place(template).seen()["trees"][MAIN_WORKTREE]
    for place, seen, is_new in old_or_new(template, fast_path, lambda place: place.bench().checkout(FEATURE), at_least=30):
        if is_new:
            assert (seen["worktrees"][MAIN_WORKTREE].branch, set(seen["uncommitted"])) == (FEATURE, {MASTER})
            assert seen["trees"][MAIN_WORKTREE][b"db/table"]["data"] == b"dirt of feature"
            store = LocalStore(place.home)
            saved = store.uncommitted(DOT)[MASTER]
            store.close()
            assert differences(dirty, place.exported(saved)) == []
        else:
            assert (seen["worktrees"][MAIN_WORKTREE].branch, set(seen["uncommitted"])) == (MASTER, {FEATURE})


def test_a_recovery_of_a_checkout_killed_anywhere_is_finished_by_the_next(template: Path, fast_path: Path) -> None:
    half = Place(fast_path / "half")
    copy(template, half.root)
    bench = half.bench()
    captured, _ = bench.capture()
    saved = bench.publish(captured, hidden=True)
    head = bench.store.branches(DOT)[FEATURE]
    target = bench.store.uncommitted(DOT)[FEATURE]
    entry = bench.store.begin_restore(DOT, MAIN_WORKTREE, target, [], Move("checkout", FEATURE, head, saved), captured)
    bench.store.restore_subdot(entry, DB, bench.directories)
    bench.store.close()
    outcomes = [seen for _, seen in every_stop(half.root, fast_path, lambda place: place.recover(), at_least=10)]
    assert not any(mixed(seen, outcomes[-1]) for seen in outcomes)
    assert outcomes[-1]["worktrees"][MAIN_WORKTREE].branch == FEATURE


def test_a_worktree_added_with_uncommitted_state_killed_anywhere_can_be_added_again(template: Path, fast_path: Path) -> None:
    def work(place: Place) -> None:
        store = place.bench().store
        store.add_worktree(Worktree(DOT, THIRD, FEATURE, None, tree=True), store.branches(DOT)[FEATURE])

    for place, seen, is_new in old_or_new(template, fast_path, work, at_least=15):
        assert (THIRD in seen["worktrees"], FEATURE not in seen["uncommitted"]) == (is_new, is_new)
        if not is_new:
            work(place)
        assert place.seen()["trees"][THIRD][b"db/table"]["data"] == b"dirt of feature"


def test_a_switch_killed_anywhere(template: Path, fast_path: Path) -> None:
    def work(place: Place) -> None:
        store = place.bench().store
        entry = store.begin_switch(DOT, SECOND, [], "switch")
        store.switch(entry)
        store.close_entry(entry)

    for _, seen, is_new in old_or_new(template, fast_path, work):
        assert seen["current"] == seen["followed"] == (SECOND if is_new else MAIN_WORKTREE)
        assert (seen["actions"][SECOND][0][0] == "switch") == is_new


def test_a_switch_that_is_cancelled_killed_anywhere(template: Path, fast_path: Path) -> None:
    """Recovery carries a switch out: whichever it is, both ways of saying where the volumes are agree."""

    def work(place: Place) -> None:
        store = place.bench().store
        store.close_entry(store.begin_switch(DOT, SECOND, [], "switch"))

    for _, seen in every_stop(template, fast_path, work, at_least=2):
        assert seen["current"] == seen["followed"]


def test_a_removed_branch_killed_anywhere(template: Path, fast_path: Path) -> None:
    def work(place: Place) -> None:
        place.bench().store.remove_branch(DOT, FEATURE)

    for _, seen, is_new in old_or_new(template, fast_path, work, at_least=1):
        assert (FEATURE in seen["branches"], FEATURE in seen["uncommitted"]) == (not is_new, not is_new)
        assert (seen["actions"][MAIN_WORKTREE][0][0] == "branch -d feature") == is_new


def test_a_removed_worktree_killed_anywhere(template: Path, fast_path: Path) -> None:
    def work(place: Place) -> None:
        place.bench().store.remove_worktree(DOT, SECOND)

    for _, seen, is_new in old_or_new(template, fast_path, work):
        assert (SECOND in seen["trees"]) == (not is_new)


def test_a_dot_deleted_killed_anywhere_is_as_it_was_or_can_be_made_anew(template: Path, fast_path: Path) -> None:
    old = Place(template).seen()
    outcomes = set()
    for root in stops(template, fast_path / "case", lambda root: Place(root).bench().store.delete_dot(DOT), at_least=3):
        place = Place(root)
        store = LocalStore(place.home)
        outcomes.add(DOT in store.dots())
        if DOT in store.dots():
            assert not mixed(old, place.seen())
        else:
            store.create_dot(DOT, tree=True)
            bench = TreeBench(store)
            assert sorted(p.name for p in place.trees.iterdir()) == [".current", "main"]
            assert list(bench.top.iterdir()) == []
            (bench.top / "readme").write_text("new")
            commit = bench.commit()
            store.collect(datetime.now(UTC) + timedelta(hours=1))
            assert [p.name for p in (place.home / "objects").iterdir()] == [commit]
        store.close()
        place.sound()
    assert outcomes == {True, False}


def test_a_dot_made_killed_anywhere(template: Path, fast_path: Path) -> None:
    def work(place: Place) -> None:
        LocalStore(place.home).create_dot(NEW, tree=True)

    outcomes = set()
    for root in stops(template, fast_path / "case", lambda root: work(Place(root)), at_least=3):
        place = Place(root)
        place.recover()
        store = LocalStore(place.home)
        outcomes.add(NEW in store.dots())
        if NEW not in store.dots():
            store.create_dot(NEW, tree=True)
        assert store.current(NEW) == MAIN_WORKTREE
        assert (place.home / "trees/new/.current").resolve() == place.home / "trees/new/main"
        assert Path(store.make_subdot(NEW, MAIN_WORKTREE, DB)).is_dir()
        store.close()
        place.sound()
    assert outcomes == {True, False}


# The whole store


def test_gc_killed_anywhere_frees_nothing_that_is_named_and_the_next_one_the_rest(template: Path, fast_path: Path) -> None:
    messy = Place(fast_path / "messy")
    copy(template, messy.root)
    bench = messy.bench()
    bench.store.remove_branch(DOT, FEATURE)
    bench.aside()
    bench.store.make_subdot(DOT, MAIN_WORKTREE, SubdotName("y"))
    bench.aside()
    for path in ("incoming/repair.1", "trees/shop/stray"):
        (messy.home / path).mkdir()
        (messy.home / path / "file").touch()
    bench.store.close()
    until = datetime.now(UTC) + timedelta(hours=1)

    def work(place: Place) -> None:
        place.bench().store.collect(until)

    def files(place: Place) -> set[str]:
        return {str(p.relative_to(place.home)) for p in place.home.rglob("*") if p.is_file() and "objects" in p.parts}

    finished = Place(fast_path / "finished")
    copy(messy.root, finished.root)
    work(finished)
    new = finished.seen()
    assert files(finished) < files(messy)
    for root in stops(messy.root, fast_path / "case", lambda root: work(Place(root)), at_least=15):
        place = Place(root)
        bench = place.bench()
        assert bench.store.check({}, repair=False).damage == ()
        (bench.top / "readme").write_bytes(b"goes on")  # and all else is known by the index
        commit = bench.commit("goes on")
        wanted = describe(bench.top)
        bench.store.close()
        assert differences(wanted, place.exported(commit)) == []
        work(place)
        place.sound()
        seen = place.seen()
        assert seen["trees"].keys() == new["trees"].keys()
        assert seen["branches"] == {**new["branches"], MASTER: commit}
        assert files(finished) | files(place) == {*files(finished), *(f for f in files(place) if commit in f)}


def test_a_repair_killed_anywhere_makes_nothing_worse_and_is_finished_by_the_next(template: Path, fast_path: Path) -> None:
    broken = Place(fast_path / "broken")
    copy(template, broken.root)
    bench = broken.bench()
    for number in range(4):  # live files prove nothing in a copy of them, but each has a twin
        for name in ("one", "two"):
            (bench.top / f"db/{number} {name}").write_bytes(b"%d" % number * 5000)
    bench.commit()
    bench.store.check({}, repair=False)
    bench.store.close()
    good = {p: p.read_bytes() for p in (broken.home / "objects").rglob("*") if p.is_file()}
    for number in range(4):
        path = next(p for p, data in sorted(good.items()) if data == b"%d" % number * 5000)
        path.unlink() if number % 2 else path.write_bytes(b"damaged")
    wanted = {str(p.relative_to(broken.root)): data for p, data in good.items()}

    def work(place: Place) -> Any:
        store = LocalStore(place.home)
        found = store.check({}, repair=True)
        store.close()
        return found

    count = 0
    for root in stops(broken.root, fast_path / "case", lambda root: work(Place(root)), at_least=3):
        place = Place(root)
        count += 1
        now = {str(p.relative_to(root)): p.read_bytes() for p in (place.home / "objects").rglob("*") if p.is_file()}
        assert all(data in (wanted[name], b"damaged") for name, data in now.items())
        assert work(place).sound
        now = {str(p.relative_to(root)): p.read_bytes() for p in (place.home / "objects").rglob("*") if p.is_file()}
        assert now == wanted
        place.sound()
    assert count > 8
