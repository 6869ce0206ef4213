"""gc frees all of the garbage and nothing else; fsck finds all damage and repairs only what it can prove."""

from __future__ import annotations

import errno
import itertools
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.commit import CommitDraft, Move, Worktree
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, CommitId, DotName, RefName, SubdotName, WorktreeName
from dm_compose.core.upkeep import Checkup, Damage, Garbage
from dm_compose.errors import DamagedError, NotFoundError
from dm_compose.state import Database
from dm_compose.store.api import Store
from dm_compose.store.local.store import checking, indexes
from tests.support.stores import DATA, DOT, Bench, Stores, TreeBench
from tests.support.trees import describe, differences

LOGS = SubdotName("logs")
MASTER, FEATURE = DEFAULT_BRANCH, RefName("feature")
TAG = RefName("v1")
SECOND = WorktreeName("second")
OTHER = DotName("other")
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)


def soon() -> datetime:
    """Return an instant that all reflog entries are older than."""
    return datetime.now(UTC) + timedelta(hours=1)


@dataclass
class Kept:
    """A bench that knows what each of its commits holds."""

    bench: Bench
    home: Path
    truth: dict[CommitId, dict[SubdotName, Any]] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return self.bench.store

    def write(self, name: str, content: bytes, subdot: SubdotName = DATA) -> None:
        (Path(self.bench.directories[subdot]) / name).write_bytes(content)

    def state(self) -> dict[SubdotName, Any]:
        return {subdot: describe(path) for subdot, path in self.bench.directories.items()}

    def note(self, commit: CommitId) -> CommitId:
        self.truth[commit] = self.state()
        return commit

    def commit(self, *, hidden: bool = False) -> CommitId:
        return self.note(self.bench.commit(hidden=hidden))

    def aside(self) -> CommitId:
        return self.note(self.bench.aside())

    def commits(self) -> set[CommitId]:
        """Return the commits that the store knows, found in its database."""
        database = Database(self.home / "store/state.db")
        try:
            return {commit.id for commit in database.commits(DOT)}
        finally:
            database.close()

    def wrong(self) -> set[CommitId]:
        """Return the known commits that do not come back as they were made."""
        found = set()
        for commit in self.commits():
            place = self.home / "export"
            shutil.rmtree(place, ignore_errors=True)
            try:
                self.store.export(DOT, commit, str(place))
            except DamagedError:
                found.add(commit)
                continue
            for subdot, wanted in self.truth[commit].items():
                if differences(wanted, describe(place / subdot)):
                    found.add(commit)
        return found

    def files(self) -> dict[str, bytes]:
        """Return all objects and manifests."""
        root = self.home / "store/objects"
        return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}

    def needed(self) -> set[str]:
        """Return what the known commits need."""
        database = Database(self.home / "store/state.db")
        manifests = {subdot.manifest for commit in database.commits() for subdot in commit.subdots.values()}
        database.close()
        entries = [e for ref in manifests for e in json.loads((self.home / "store/objects" / ref).read_bytes())["entries"]]
        return manifests | {entry[7] for entry in entries if entry[1] == "f"}

    def collect(self, keep_since: datetime | None = None) -> Garbage:
        """Collect, and check what is always true of it."""
        since = keep_since or soon()
        told = self.store.garbage(since)
        before = self.commits(), set(self.files())
        assert (self.commits(), set(self.files())) == before, "garbage only looks"
        done = self.store.collect(since)
        assert done == told
        assert before[0] - self.commits() == set(done.commits)
        assert len(before[1] - set(self.files())) == done.objects
        assert not self.store.garbage(since), "nothing is left of it"
        assert not self.store.collect(since)
        assert list((self.home / "store/incoming").iterdir()) == [] or self.store.unfinished(DOT)
        assert self.wrong() == set()
        return done


def two(path: Path) -> dict[str, Path]:
    for name in ("data", "logs"):
        (path / name).mkdir()
        (path / name / "one").write_bytes(b"1" * 10_000)
    return {"data": path / "data", "logs": path / "logs"}


@pytest.fixture
def kept(stores: Stores, fast_path: Path) -> Kept:
    """A store with one commit on master."""
    kept = Kept(stores.bench(fast_path / "store", **two(fast_path)), fast_path)
    kept.commit()
    return kept


@pytest.fixture
def own(local: Stores, fast_path: Path) -> Kept:
    """The same, in this process only."""
    kept = Kept(local.bench(fast_path / "store", **two(fast_path)), fast_path)
    kept.commit()
    return kept


# What gc keeps


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
    return commit, lambda: kept.store.abandon(commit)


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
    commit_id, captured = kept.bench.capture()
    assert captured.new_bytes == 20_000, "and not the files of the commit that stays"
    kept.store.abandon(commit_id)


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
    kept.store.abandon(commit)
    kept.store.export(OTHER, commit, str(kept.home / "other"))


def test_abandoning_a_commit_a_second_time_frees_nothing_that_others_share(kept: Kept) -> None:
    kept.write("big", b"b" * 20_000)
    hidden = kept.aside()
    commit = kept.commit()
    kept.collect()
    kept.store.abandon(hidden)
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


# What stops gc


def lose(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES = [lose, truncate, flip, replace_by_a_directory]


@pytest.mark.parametrize("harm", DAMAGES)
def test_while_a_manifest_cannot_be_read_nothing_is_freed(own: Kept, harm: Callable[[Path], None]) -> None:
    own.write("one", b"hidden")
    hidden = own.aside()
    own.write("one", b"head")
    head = own.store.commit(DOT, own.commit())
    manifest = own.home / "store/objects" / head.subdots[DATA].manifest
    good = manifest.read_bytes()
    harm(manifest)
    before = own.files()
    for found in (own.store.garbage(soon()), own.store.collect(soon())):
        assert (found.objects, found.size_bytes) == (0, 0)
    assert own.files() == before
    if manifest.is_dir():
        manifest.rmdir()
    manifest.write_bytes(good)
    assert own.collect().objects > 0
    assert hidden not in own.commits()
    assert set(own.files()) == own.needed()


@pytest.mark.parametrize("harm", DAMAGES)
def test_a_damaged_manifest_of_garbage_stops_nothing(own: Kept, harm: Callable[[Path], None]) -> None:
    own.write("one", b"hidden")
    hidden = own.store.commit(DOT, own.aside())
    harm(own.home / "store/objects" / hidden.subdots[DATA].manifest)
    own.store.collect(soon())
    left = set(own.files())
    assert left == own.needed()


def test_no_single_changed_byte_of_a_manifest_is_believed(own: Kept) -> None:
    """It would restore something else, or let gc free what is needed."""
    manifest = own.home / "store/objects" / own.store.commit(DOT, own.bench.head).subdots[DATA].manifest
    good = manifest.read_bytes()
    objects = own.bench.local._objects
    ref = f"{manifest.parent.name}/{manifest.name}"
    wanted = objects.read_manifest(ref)
    for position, mask in itertools.product(range(len(good)), (1, 2, 4, 8, 16, 64)):
        data = bytearray(good)
        data[position] ^= mask
        manifest.write_bytes(data)
        try:
            assert objects.read_manifest(ref) == wanted, (position, bytes(data))
        except DamagedError:
            continue


# What gc must not meet


def test_leftovers_of_killed_commands_are_removed(kept: Kept) -> None:
    incoming = kept.home / "store/incoming"
    (incoming / ("a" * 32)).mkdir()
    (incoming / ("a" * 32) / "1").write_bytes(b"half a commit")
    (incoming / f"repair.{'a' * 32}.1").write_bytes(b"half a repair")
    (incoming / "tree.shop.second/db").mkdir(parents=True)
    (incoming / "removed.abc/file").mkdir(parents=True)
    (incoming / "link").symlink_to(kept.home / "data")
    assert kept.collect().leftovers == 5
    assert (kept.home / "data/one").exists()


def test_trees_that_nobody_registered_are_removed(stores: Stores, fast_path: Path) -> None:
    bench = stores.trees(fast_path / "store")
    (bench.top / "file").write_text("registered")
    (bench.top / ".hidden").mkdir()
    bench.store.create_dot(OTHER)
    trees = fast_path / "store/trees"
    for path in ("shop/second", "shop/.odd", "other/main", "gone/main"):
        (trees / path / "db").mkdir(parents=True)
    (trees / "gone/.current").symlink_to("main")
    wanted = describe(bench.top)
    found = bench.store.collect(soon())
    assert found.leftovers >= 3
    assert not bench.store.garbage(soon())
    left = sorted(str(p.relative_to(trees)) for p in trees.rglob("*"))
    assert [p for p in left if p not in ("other",)] == [
        "shop",
        "shop/.current",
        "shop/main",
        "shop/main/.hidden",
        "shop/main/file",
    ]
    assert differences(wanted, describe(bench.top)) == []
    assert list((fast_path / "store/incoming").iterdir()) == []


def test_what_is_in_the_making_is_left_alone(kept: Kept) -> None:
    kept.write("one", b"new")
    commit_id = kept.bench.prepare()
    kept.store.capture(commit_id)
    kept.store.collect(soon())
    kept.note(kept.bench.publish(commit_id))
    assert kept.wrong() == set()


STEPS = ["batches", "contents", "read_manifest", "commits", "journal", "worktrees", "remove_digests", "transaction", "dots"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_a_dot_that_is_made_during_gc_loses_nothing(
    own: Kept, local: Stores, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    """Making a dot needs no lock, and who collects cannot hold the lock of a dot that he does not know."""
    own.write("one", b"garbage")
    own.aside()
    own.write("one", b"new")
    made: list[CommitId] = []
    other = local.open(own.home / "store")

    def make() -> None:
        if len(made) < 3:
            dot = DotName(f"new{len(made)}")
            made.append(CommitId("0" * 32))
            other.create_dot(dot, tree=True)
            Path(other.make_subdot(dot, MAIN_WORKTREE, DATA), "file").write_bytes(b"n" * 3000)
            commit = other.prepare_commit(dot, MAIN_WORKTREE, other.tree(dot, MAIN_WORKTREE))
            other.capture(commit)
            other.publish(commit, CommitDraft("new", "me"))
            made[-1] = commit
            other.add_worktree(Worktree(dot, SECOND, FEATURE, None, tree=True), commit)

    owner: Any = own.bench.local._objects if hasattr(own.bench.local._objects, step) else own.bench.local._database
    original = getattr(owner, step)

    def patched(*args: Any, **kwargs: Any) -> Any:
        inside = owner is own.bench.local._database and owner._depth > 0  # another process would wait
        if when == "before" and not inside:
            make()
        answer = original(*args, **kwargs)
        if when == "after" and not inside and step != "transaction":
            make()
        return answer

    monkeypatch.setattr(owner, step, patched)
    own.store.collect(soon())
    monkeypatch.undo()
    assert made or step == "transaction"
    for number, commit in enumerate(made):
        dot = DotName(f"new{number}")
        for worktree in (MAIN_WORKTREE, SECOND):
            tree = TreeBench(other, worktree)
            tree.dot = dot
            assert (tree.top / "data/file").read_bytes() == b"n" * 3000
            assert tree.differing(commit) == []
        other.export(dot, commit, str(own.home / f"export{number}"))
        assert (own.home / f"export{number}/data/file").read_bytes() == b"n" * 3000
    own.store.collect(soon())
    assert own.store.check({}, repair=False).sound


def test_gc_while_the_first_commit_of_a_new_dot_is_published_spares_it(
    own: Kept, local: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = local.open(own.home / "store")
    other.create_dot(OTHER)
    commit = other.prepare_commit(OTHER, MAIN_WORKTREE, own.bench.directories)
    other.capture(commit)
    database: Any = Bench(other).local._database
    original = database.add_commit

    def late(added: Any) -> None:
        database._connection.execute("ROLLBACK")  # the moment before the transaction
        own.store.collect(soon())
        database._connection.execute("BEGIN IMMEDIATE")
        original(added)

    monkeypatch.setattr(database, "add_commit", late)
    other.publish(commit, CommitDraft("new", "me"))
    other.export(OTHER, commit, str(own.home / "other"))
    assert own.store.check({}, repair=False).sound


# fsck


@dataclass
class Shelf:
    """A store in which some contents are kept twice, some live, and some neither."""

    kept: Kept
    root: Path

    @property
    def live(self) -> Any:
        return {DOT: {MAIN_WORKTREE: self.kept.bench.directories}}

    def check(self, *, repair: bool = False, live: bool = True) -> Checkup:
        return self.kept.store.check(self.live if live else {}, repair=repair)


@pytest.fixture
def shelf(local: Stores, fast_path: Path) -> Shelf:
    kept = Kept(local.bench(fast_path / "store", **two(fast_path)), fast_path)
    kept.write("twin", b"twin" * 3000)
    kept.write("twin", b"twin" * 3000, LOGS)
    kept.write("gone", b"only in the first" * 100)
    first = kept.commit()
    kept.write("gone", b"only in the second" * 100)
    kept.write("one", b"only live and in the third" * 100, LOGS)
    kept.commit()
    kept.write("gone", b"live" * 100)
    kept.commit()
    wanted = kept.state()
    kept.bench.restore(first)
    kept.commit()  # its manifests are those of the first, written a second time
    kept.bench.restore(next(c for c, state in kept.truth.items() if state == wanted))
    kept.write("dirty", b"uncommitted")
    return Shelf(kept, fast_path / "store/objects")


def test_a_sound_store_is_sound_and_the_first_look_records_digests(kept: Kept) -> None:
    first = kept.store.check({}, repair=False)
    assert (first.sound, first.damage, first.commits) == (True, (), 1)
    assert first.objects == first.first_seen == len(kept.needed()) == 4
    assert first.size_bytes == 20_000
    second = kept.store.check({}, repair=True)
    assert second == replace(first, first_seen=0)
    kept.write("one", b"new")
    kept.commit()
    assert kept.store.check({}, repair=False).first_seen == 2


def test_hidden_commits_are_checked_too(kept: Kept) -> None:
    kept.write("one", b"hidden")
    hidden = kept.aside()
    (kept.home / "store/objects" / hidden / "1").write_bytes(b"HIDDEN")
    lose(kept.home / "store/objects" / hidden / "data.manifest")
    found = kept.store.check({}, repair=False)
    assert [d.commits for d in found.damage] == [(hidden,)]


def others(shelf: Shelf, name: str, good: dict[str, bytes]) -> bool:
    """Whether the contents of an object or manifest are anywhere else: in a live file that it is known to be, or a twin."""
    if any(data == good[name] for other, data in good.items() if other != name):
        return True
    local = shelf.kept.bench.local
    return any(
        found.entry.ref == name and Path(directory, path).read_bytes() == good[name]
        for subdot, directory in shelf.kept.bench.directories.items()
        for path, found in local._indexes.load((DOT, MAIN_WORKTREE, subdot)).items()
    )


@pytest.mark.parametrize("harm", DAMAGES)
def test_damage_to_any_one_thing_is_found_named_and_repaired_where_its_contents_are_known(
    shelf: Shelf, harm: Callable[[Path], None]
) -> None:
    kept = shelf.kept
    assert shelf.check().sound
    good = kept.files()
    outcomes = set()
    for name, data in good.items():
        path = shelf.root / name
        harm(path)
        harmed = kept.wrong()
        assert harmed
        before = describe(shelf.root)
        found = shelf.check()
        assert [(d.where, set(d.commits), d.repaired) for d in found.damage] == [(name, harmed, False)], harm
        assert found.damage[0].what
        assert not found.sound
        assert differences(before, describe(shelf.root)) == [], "without `repair` nothing is touched"
        expected = others(shelf, name, good) and not path.is_dir()
        (mended,) = shelf.check(repair=True).damage
        assert (mended.where, set(mended.commits), mended.repaired) == (name, harmed, expected), (name, harm)
        outcomes.add((name.endswith("manifest"), expected))
        now = kept.files()
        assert {k: v for k, v in now.items() if k != name} == {k: v for k, v in good.items() if k != name}
        if expected:
            assert now[name] == data
            assert kept.wrong() == set()
            assert shelf.check(repair=True).damage == ()
        else:
            if path.is_dir():
                path.rmdir()
            path.write_bytes(data)
        assert list((kept.home / "store/incoming").iterdir()) == []
    assert outcomes == (
        {(True, True), (True, False), (False, True), (False, False)}
        if harm is not replace_by_a_directory
        else {(True, False), (False, False)}
    )


@pytest.mark.parametrize("harm", [lose, truncate])
def test_an_object_that_nobody_has_looked_at_is_repaired_from_the_live_file_it_is(
    shelf: Shelf, harm: Callable[[Path], None]
) -> None:
    good = shelf.kept.files()
    repaired = set()
    for name, data in good.items():
        if name.endswith("manifest"):
            continue
        shelf.kept.bench.local._database.remove_digests(good)
        harm(shelf.root / name)
        (found,) = shelf.check(repair=True).damage
        if found.repaired:
            repaired.add(name)
            assert (shelf.root / name).read_bytes() == data
        (shelf.root / name).write_bytes(data)
    assert repaired == {f.entry.ref for s in (DATA, LOGS) for f in proven(shelf, s)} & set(good)
    assert len(repaired) == 5


def proven(shelf: Shelf, subdot: SubdotName) -> list[Any]:
    return [f for f in shelf.kept.bench.local._indexes.load((DOT, MAIN_WORKTREE, subdot)).values() if f.entry.kind == "f"]


@pytest.mark.parametrize("looked_at", [True, False])
def test_nothing_is_repaired_with_a_live_file_that_was_written_to(shelf: Shelf, looked_at: bool) -> None:
    if looked_at:
        shelf.check()
    live = next(f for f in proven(shelf, LOGS) if f.entry.path == "one")
    path = Path(shelf.kept.bench.directories[LOGS]) / "one"
    info = path.stat()
    path.write_bytes(b"X" * info.st_size)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    lose(shelf.root / live.entry.ref)
    (found,) = shelf.check(repair=True).damage
    assert not found.repaired
    assert not (shelf.root / live.entry.ref).exists()


@pytest.mark.parametrize(("looked_at", "content"), [(True, b"X"), (True, b""), (False, b"")])
def test_nothing_is_repaired_with_a_file_that_its_index_is_wrong_about(shelf: Shelf, looked_at: bool, content: bytes) -> None:
    """As after a write that moves no time stamp: memory file systems do not see one through a mapped page."""
    if looked_at:
        shelf.check()
    live = next(f for f in proven(shelf, LOGS) if f.entry.path == "one")
    path = Path(shelf.kept.bench.directories[LOGS]) / "one"
    path.write_bytes(content * live.entry.size)
    info = path.stat()
    tree = dict(shelf.kept.bench.local._indexes.load((DOT, MAIN_WORKTREE, LOGS)))
    entry = live.entry._replace(mtime_ns=info.st_mtime_ns, size=info.st_size)
    tree["one"] = live._replace(entry=entry, inode=info.st_ino, ctime_ns=info.st_ctime_ns)
    shelf.kept.bench.local._indexes.save((DOT, MAIN_WORKTREE, LOGS), tree)
    lose(shelf.root / live.entry.ref)
    (found,) = shelf.check(repair=True).damage
    assert not found.repaired
    assert not (shelf.root / live.entry.ref).exists()


def test_nothing_is_repaired_with_a_file_that_is_written_to_while_it_is_copied(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = next(f for f in proven(shelf, LOGS) if f.entry.path == "one")
    path = Path(shelf.kept.bench.directories[LOGS]) / "one"
    original = checking.clone

    def late(source: bytes, destination: bytes) -> bool:
        path.write_bytes(b"X" * live.entry.size)
        return original(source, destination)

    monkeypatch.setattr(checking, "clone", late)
    lose(shelf.root / live.entry.ref)
    (found,) = shelf.check(repair=True).damage
    assert not found.repaired
    assert list((shelf.kept.home / "store/incoming").iterdir()) == []


def test_damage_that_a_twin_has_too_is_not_repaired_with_it(shelf: Shelf) -> None:
    shelf.check()
    good = shelf.kept.files()
    twins = [name for name, data in good.items() if data == b"twin" * 3000]
    assert len(twins) == 2
    for name in twins:
        flip(shelf.root / name)
    found = shelf.check(repair=True, live=False)
    assert {d.where: d.repaired for d in found.damage} == dict.fromkeys(twins, False)
    found = shelf.check(repair=True)
    assert {d.where: d.repaired for d in found.damage} == dict.fromkeys(twins, True), "the live files are both"
    assert shelf.kept.files() == good


def test_a_third_copy_repairs_two_and_missing_twins_do_not_hide_it(shelf: Shelf) -> None:
    kept = shelf.kept
    kept.write("third", b"twin" * 3000)
    kept.commit()
    shelf.check()
    good = kept.files()
    copies = sorted(name for name, data in good.items() if data == b"twin" * 3000)
    for spared in copies:
        for name in copies:
            if name != spared:
                lose(shelf.root / name)
        found = shelf.check(repair=True, live=False)
        assert found.sound
        assert len(found.damage) == 2
        assert kept.files() == good


def test_several_damages_are_all_named_and_a_lost_manifest_does_not_hide_what_else_is_lost(shelf: Shelf) -> None:
    shelf.check()
    good = shelf.kept.files()
    for name in good:
        flip(shelf.root / name)
    found = shelf.check()
    manifests = {name for name in good if name.endswith("manifest")}
    assert {d.where for d in found.damage} == manifests
    for name in manifests:
        (shelf.root / name).write_bytes(good[name])
    found = shelf.check()
    assert {d.where for d in found.damage} == set(good) - manifests
    assert {c for d in found.damage for c in d.commits} == shelf.kept.wrong() == shelf.kept.commits()


def test_a_manifest_repaired_from_its_twin_has_its_objects_looked_at(shelf: Shelf) -> None:
    shelf.check()
    good = shelf.kept.files()
    copies = [n for n, d in good.items() if n.endswith("manifest") and list(good.values()).count(d) == 2]
    assert len(copies) == 4
    only_first = next(n for n, d in good.items() if d == b"only in the first" * 100)
    for name in (copies[0], only_first):
        lose(shelf.root / name)
    found = shelf.check(repair=True)
    assert {d.where: d.repaired for d in found.damage} == {copies[0]: True, only_first: False}


def test_whole_batches_that_are_lost_are_named_and_what_is_live_comes_back(shelf: Shelf) -> None:
    shelf.check()
    good = shelf.kept.files()
    newest = next(n for n, d in good.items() if d == b"live" * 100).partition("/")[0]
    shutil.rmtree(shelf.root / newest)
    found = shelf.check(repair=True)
    assert {d.where for d in found.damage} == {f"{newest}/data.manifest"}
    (shelf.root / newest).mkdir(exist_ok=True)
    (shelf.root / newest / "data.manifest").write_bytes(good[f"{newest}/data.manifest"])
    found = shelf.check(repair=True)
    assert found.sound
    assert shelf.kept.files() == good


def test_trees_are_live_too(local: Stores, fast_path: Path) -> None:
    bench = local.trees(fast_path / "store")
    (bench.top / "file").write_bytes(b"root" * 1000)
    Path(bench.store.make_subdot(DOT, MAIN_WORKTREE, DATA), "table").write_bytes(b"data" * 1000)
    commit = bench.commit()
    bench.store.check({}, repair=False)
    wanted = describe(bench.top)
    for path in (fast_path / "store/objects" / commit).iterdir():
        if path.suffix != ".manifest":
            flip(path)
    found = bench.store.check({DOT: {MAIN_WORKTREE: bench.directories}}, repair=True)
    assert found.sound
    assert len(found.damage) == 2
    shutil.rmtree(bench.top)
    bench.restore(commit)
    assert differences(wanted, describe(bench.top)) == []


def test_live_directories_that_cannot_be_read_keep_nothing_from_being_checked(shelf: Shelf) -> None:
    shelf.check()
    name = next(n for n, d in shelf.kept.files().items() if d == b"twin" * 3000)
    lose(shelf.root / name)
    nowhere = {DOT: {MAIN_WORKTREE: {DATA: "/nowhere", LOGS: "/dev/null"}, SECOND: {DATA: "/nowhere"}}, OTHER: {}}
    found = shelf.kept.store.check(nowhere, repair=True)
    assert [(d.where, d.repaired) for d in found.damage] == [(name, True)]


def test_a_repair_crosses_the_pipe(kept: Kept) -> None:
    kept.store.check({}, repair=False)
    name = next(n for n in kept.files() if not n.endswith("manifest"))
    flip(kept.home / "store/objects" / name)
    live = {DOT: {MAIN_WORKTREE: kept.bench.directories}}
    (found,) = kept.store.check({}, repair=False).damage
    assert found == Damage(name, found.what, (kept.bench.head,), repaired=False)
    (mended,) = kept.store.check(live, repair=True).damage
    assert mended == replace(found, repaired=True)
    assert kept.wrong() == set()


def test_a_broken_reference_in_the_database_is_damage(own: Kept) -> None:
    database = own.bench.local._database
    database._connection.execute("PRAGMA foreign_keys = OFF")
    database.set_ref(DOT, "tag", TAG, CommitId("0" * 32))
    (found,) = own.store.check({}, repair=True).damage
    assert (found.where, found.repaired) == ("state.db", False)
    assert "refs" in found.what
    assert "commits" in found.what


def test_upkeep_of_an_empty_store_is_nothing(stores: Stores, fast_path: Path) -> None:
    store = stores.open(fast_path / "store")
    assert store.garbage(soon()) == store.collect(soon()) == Garbage()
    assert store.check({}, repair=True) == Checkup(0, 0, 0, 0)


def test_upkeep_of_a_store_with_strange_files_is_no_bug(own: Kept) -> None:
    (own.home / "store/objects/stray").write_bytes(b"somebody's")
    (own.home / "store/trees").mkdir(exist_ok=True)
    (own.home / "store/trees/stray").write_bytes(b"nobody's: only trees belong there")
    assert own.collect().leftovers == 1
    assert not own.collect()
    assert (own.home / "store/objects/stray").read_bytes() == b"somebody's"
    assert own.store.check({}, repair=True).sound
    assert own.wrong() == set()


def test_a_settled_form_stays_as_long_as_its_commit_and_goes_with_it(kept: Kept) -> None:
    kept.write("one", b"left over")
    base = kept.aside()
    kept.store.note(DOT, MAIN_WORKTREE, "aside", base)
    kept.write("one", b"settled")
    form = kept.aside()
    assert kept.store.settled(DOT, base) is None
    kept.store.set_settled(DOT, base, form)
    kept.collect(LONG_AGO)
    assert kept.store.settled(DOT, base) == form
    assert {base, form} <= kept.commits()
    kept.collect()
    assert kept.store.settled(DOT, base) is None
    assert not {base, form} & kept.commits()


def test_only_a_commit_of_the_dot_can_be_a_settled_form(kept: Kept) -> None:
    (head,) = kept.commits()
    with pytest.raises(NotFoundError):
        kept.store.set_settled(DOT, head, CommitId.new())
    assert kept.store.settled(DOT, head) is None
