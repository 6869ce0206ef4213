"""Pushing to a remote and fetching from it, over a directory: what every kind of remote has in common."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dm_compose.core.commit import CommitDraft
from dm_compose.core.names import DEFAULT_BRANCH, MAIN_WORKTREE, CommitId, RefName
from dm_compose.errors import DivergedError, InUseError, NotFoundError
from dm_compose.remotes import Digest, Remote, RemoteName, Tag
from dm_compose.transfer import Relation, download, push, push_plan, verify_remote
from dm_compose.transfer.reading import read_manifest, read_table
from dm_compose.transfer.tables import chain
from tests.support.stores import entry_of
from tests.support.transfers import DOT, SHOP, Side, change_page, directory_remote, write_pages
from tests.support.trees import allocated, describe, differences

FEATURE = RefName("feature/x")


both_kinds = pytest.mark.parametrize("kind", ["local", "remote"])


@pytest.fixture
def kind() -> str:
    """Where the stores are: in this process, or with `both_kinds` also at the other end of a pipe."""
    return "local"


@pytest.fixture
def ours(tmp_path: Path, kind: str) -> Iterator[Side]:
    side = Side(tmp_path / "ours", kind=kind)
    write_pages(side.data / "table", 100)
    (side.data / "small").write_text("small")
    yield side
    side.close()


@pytest.fixture
def theirs(tmp_path: Path, kind: str) -> Iterator[Side]:
    side = Side(tmp_path / "theirs", kind=kind)
    yield side
    side.close()


@pytest.fixture
def remote(tmp_path: Path) -> Remote:
    return directory_remote(tmp_path / "remote")


@both_kinds
def test_a_clone_has_everything_that_was_pushed(ours: Side, theirs: Side, remote: Remote) -> None:
    one = ours.commit("one")
    change_page(ours.data / "table", 7, b"changed")
    two = ours.commit("two")
    pushed = ours.push(remote)
    assert (pushed.commits, pushed.before, pushed.head) == ((one, two), None, two)
    got = theirs.pull(remote)
    assert (got.commits, got.relation) == ((one, two), Relation.NEW)
    assert theirs.messages() == ["two", "one"]
    assert differences(describe(ours.data), describe(theirs.data)) == []
    for commit_id in (one, two):
        before, after = ours.store.commit(DOT, commit_id), theirs.store.commit(DOT, commit_id)
        assert before == after
    theirs.restore(one)
    ours.restore(one)
    assert differences(describe(ours.data), describe(theirs.data)) == []
    assert theirs.store.check({}, repair=False).sound


@both_kinds
def test_a_second_push_and_fetch_transfer_nothing(ours: Side, theirs: Side, remote: Remote) -> None:
    ours.commit()
    ours.push(remote)
    again = ours.push(remote)
    assert (again.commits, again.sent_blobs, again.sent_bytes) == ((), 0, 0)
    theirs.pull(remote)
    got = theirs.fetch(remote)
    assert (got.relation, got.commits, got.received_bytes) == (Relation.SAME, (), 0)


@both_kinds
def test_only_pages_that_changed_travel(ours: Side, theirs: Side, remote: Remote) -> None:
    ours.commit()
    first = ours.push(remote)
    theirs.pull(remote)
    change_page(ours.data / "table", 50, b"x")
    ours.commit()
    second = ours.push(remote)
    assert second.sent_bytes < 4096 < first.sent_bytes // 10
    got = theirs.pull(remote)
    assert got.relation is Relation.BEHIND
    assert got.received_bytes == second.sent_bytes
    assert differences(describe(ours.data), describe(theirs.data)) == []


def test_a_page_that_changed_is_all_that_the_receivers_store_grows_by(fast_path: Path, remote: Remote) -> None:
    ours, theirs = Side(fast_path / "from"), Side(fast_path / "to")
    write_pages(ours.data / "table", 400)
    ours.commit("one")
    ours.push(remote)
    theirs.pull(remote)
    before = _taken(theirs)
    change_page(ours.data / "table", 7, b"third")
    ours.commit("two")
    ours.push(remote)
    theirs.pull(remote)
    assert _taken(theirs) - before < 100_000
    assert (theirs.data / "table").read_bytes() == (ours.data / "table").read_bytes()
    theirs.store.check({}, repair=False)
    assert theirs.store.check({}, repair=False).sound


def _taken(side: Side) -> int:
    return sum(allocated(path) for path in (side.root / "store/objects").rglob("*") if path.is_file())


@both_kinds
def test_a_file_that_grew_shrank_or_became_zeros_arrives_as_it_is(ours: Side, theirs: Side, remote: Remote) -> None:
    for name in ("grew", "shrank", "zeroed", "emptied"):
        write_pages(ours.data / name, 64, seed=len(name))
    ours.commit()
    ours.push(remote)
    theirs.pull(remote)
    with (ours.data / "grew").open("ab") as file:
        file.write(b"more" * 3000)
    os.truncate(ours.data / "shrank", 400_001)
    with (ours.data / "zeroed").open("r+b") as file:
        file.seek(8192)
        file.write(bytes(100_000))
    os.truncate(ours.data / "emptied", 0)
    ours.commit()
    ours.push(remote)
    theirs.pull(remote)
    assert differences(describe(ours.data), describe(theirs.data)) == []


@pytest.mark.parametrize("depth", [None, 1])
@pytest.mark.parametrize("cuts", [1, 2])
def test_versions_without_contents_of_their_own_between_others_arrive_at_once(
    ours: Side, theirs: Side, remote: Remote, depth: int | None, cuts: int
) -> None:
    """A version that is only shorter than the one before needs no pack: the next one must wait for the pack below it."""
    write_pages(ours.data / "table", 64)
    ours.commit()
    for number in range(cuts):
        os.truncate(ours.data / "table", 400_000 - number)
        ours.commit()
    change_page(ours.data / "table", 3, b"changed")
    ours.commit()
    ours.push(remote)
    theirs.restore(theirs.fetch(remote, depth=depth).head)
    assert differences(describe(ours.data), describe(theirs.data)) == []


@both_kinds
def test_holes_stay_holes_and_cost_nothing(ours: Side, theirs: Side, remote: Remote) -> None:
    with (ours.data / "sparse").open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"island" * 1000)
    (ours.data / "zeros").write_bytes(bytes(8 << 20))
    (ours.data / "table").unlink()
    ours.commit()
    assert ours.push(remote).sent_bytes < 100_000
    theirs.pull(remote)
    assert differences(describe(ours.data), describe(theirs.data)) == []
    assert allocated(theirs.data / "sparse") <= allocated(ours.data / "sparse")


def test_a_hole_punched_into_a_known_file_is_a_hole_on_the_other_side(ours: Side, theirs: Side, remote: Remote) -> None:
    path = ours.data / "sparse"
    path.write_bytes(b"x" * (1 << 20) + bytes(1 << 20) + b"y" * (1 << 20))
    ours.commit()
    ours.push(remote)
    theirs.pull(remote)
    with path.open("r+b") as file:
        file.truncate(1 << 20)
        file.truncate(2 << 20)
        file.seek(2 << 20)
        file.write(b"y" * (1 << 20))
    ours.commit()
    ours.push(remote)
    theirs.pull(remote)
    assert differences(describe(ours.data), describe(theirs.data)) == []
    assert allocated(theirs.data / "sparse") <= allocated(path)


def test_objects_of_hidden_commits_travel_with_what_needs_them(ours: Side, theirs: Side, remote: Remote) -> None:
    one = ours.commit("one")
    change_page(ours.data / "table", 3, b"uncommitted")
    saved = ours.commit("saved", hidden=True)
    ours.store.abandon(entry_of(saved))
    ours.restore(one)
    entry = ours.store.begin_restore(DOT, MAIN_WORKTREE, saved, [], None, None)
    ours.store.restore_subdot(entry, next(iter(ours.directories)), ours.directories)
    ours.store.sync_restored(entry)
    ours.store.end_restore(entry)
    (ours.data / "new").write_text("new")
    two = ours.commit("two")
    refs = {e.ref.partition("/")[0] for e in ours.entries(two).values() if e.ref}
    assert saved in refs
    ours.push(remote)
    got = theirs.pull(remote)
    assert got.commits == (one, two)
    assert differences(describe(ours.data), describe(theirs.data)) == []


def test_a_reset_then_a_push_sends_no_contents_again(ours: Side, theirs: Side, remote: Remote) -> None:
    one = ours.commit("one")
    write_pages(ours.data / "table", 100, seed=1)
    ours.commit("two")
    ours.push(remote)
    entry = ours.store.begin_restore(DOT, MAIN_WORKTREE, one, [], None, None)
    ours.store.restore_subdot(entry, next(iter(ours.directories)), ours.directories)
    ours.store.sync_restored(entry)
    ours.store.end_restore(entry)
    ours.commit("three is one")
    assert ours.push(remote).sent_bytes < 4096
    theirs.pull(remote)
    assert theirs.messages() == ["three is one", "two", "one"]
    assert differences(describe(ours.data), describe(theirs.data)) == []


def test_a_branch_travels_with_and_without_its_base_on_the_remote(
    ours: Side, theirs: Side, remote: Remote, tmp_path: Path
) -> None:
    one = ours.commit("one")
    ours.store.add_branch(DOT, FEATURE, one)
    ours.restore(one, FEATURE)
    change_page(ours.data / "table", 3, b"feature")
    two = ours.commit("two")
    assert ours.push(remote, FEATURE).commits == (one, two)
    assert ours.push(remote).commits == ()
    other = directory_remote(tmp_path / "other")
    assert ours.push(other).commits == (one,)
    assert ours.push(other, FEATURE).commits == (two,)
    for place in (remote, other):
        assert set(place.repository(SHOP).tags()) == {
            Tag.of_commit(one), Tag.of_commit(two), Tag("master"), Tag("feature..x"),
        }  # fmt: skip
        assert theirs.fetch(place, FEATURE).head == two


def test_diverged_histories_are_refused_and_nothing_is_overwritten(ours: Side, theirs: Side, remote: Remote) -> None:
    ours.commit("base")
    ours.push(remote)
    theirs.pull(remote)
    (ours.data / "mine").write_text("mine")
    mine = ours.commit("mine")
    (theirs.data / "yours").write_text("yours")
    yours = theirs.commit("yours")
    ours.push(remote)
    with pytest.raises(DivergedError):
        theirs.push(remote)
    assert remote.repository(SHOP).resolve(Tag("master")) == remote.repository(SHOP).resolve(Tag.of_commit(mine))
    got = theirs.fetch(remote)
    assert (got.relation, got.commits, got.head) == (Relation.DIVERGED, (mine,), mine)
    assert got.common == theirs.store.log(DOT, yours)[1].id
    assert theirs.head() == yours


def test_a_stashed_push_keeps_both_sides(ours: Side, theirs: Side, remote: Remote) -> None:
    ours.commit("base")
    ours.push(remote)
    theirs.pull(remote)
    (ours.data / "mine").write_text("mine")
    mine = ours.commit("mine")
    ours.push(remote)
    (theirs.data / "yours").write_text("yours")
    yours = theirs.commit("yours")
    pushed = theirs.push(remote, stash=True)
    assert pushed.stashed
    assert pushed.branch.startswith("master-DIVERGED-")
    repository = remote.repository(SHOP)
    assert repository.resolve(Tag("master")) == repository.resolve(Tag.of_commit(mine))
    assert repository.resolve(Tag.of_branch(pushed.branch)) == repository.resolve(Tag.of_commit(yours))
    assert ours.fetch(remote, pushed.branch).head == yours


def test_a_remote_that_is_ahead_is_not_moved_back(ours: Side, theirs: Side, remote: Remote) -> None:
    ours.commit("one")
    ours.push(remote)
    theirs.pull(remote)
    (ours.data / "new").write_text("new")
    ours.commit("two")
    ours.push(remote)
    with pytest.raises(DivergedError):
        theirs.push(remote)
    assert theirs.fetch(remote).relation is Relation.BEHIND
    assert ours.fetch(remote).relation is Relation.SAME


def test_commits_that_the_remote_lacks_are_ahead(ours: Side, remote: Remote) -> None:
    ours.commit("one")
    ours.push(remote)
    (ours.data / "new").write_text("new")
    ours.commit("two")
    assert ours.fetch(remote).relation is Relation.AHEAD


def test_what_is_not_there_is_named(ours: Side, remote: Remote) -> None:
    with pytest.raises(NotFoundError, match="no commit to push"):
        ours.push(remote)
    with pytest.raises(NotFoundError, match="there is no admin/shop"):
        ours.fetch(remote)
    ours.commit()
    ours.push(remote)
    with pytest.raises(NotFoundError, match="no branch nope"):
        ours.fetch(remote, RefName("nope"))
    with pytest.raises(NotFoundError, match="no commit 0123"):
        ours.fetch(remote, CommitId("0123" * 8))


@both_kinds
def test_a_shallow_fetch_brings_one_commit_and_a_later_one_the_rest(ours: Side, theirs: Side, remote: Remote) -> None:
    ids = []
    for number in range(5):
        change_page(ours.data / "table", number, f"number {number}".encode())
        ids.append(ours.commit(str(number)))
    ours.push(remote)
    got = theirs.fetch(remote, depth=1)
    assert got.commits == (ids[-1],)
    theirs.restore(ids[-1])
    assert theirs.messages() == ["4"]
    assert differences(describe(ours.data), describe(theirs.data)) == []
    assert theirs.fetch(remote, depth=1).commits == ()
    (theirs.data / "new").write_text("new")
    theirs.commit("5")
    assert len(theirs.push(remote).commits) == 1
    assert set(theirs.fetch(remote).commits) >= set(ids)
    assert theirs.messages() == ["5", "4", "3", "2", "1", "0"]
    theirs.restore(ids[0])
    ours.restore(ids[0])
    assert differences(describe(ours.data), describe(theirs.data)) == []
    assert theirs.store.check({}, repair=False).sound


def test_a_shallow_commit_is_not_pushed_to_where_its_ancestors_are_not(
    ours: Side, theirs: Side, remote: Remote, tmp_path: Path
) -> None:
    ours.commit("one")
    (ours.data / "new").write_text("new")
    ours.commit("two")
    ours.push(remote)
    theirs.restore(theirs.fetch(remote, depth=1).head)
    other = directory_remote(tmp_path / "other")
    with pytest.raises(NotFoundError, match="without its ancestors"):
        theirs.push(other)
    assert other.repository(SHOP).tags() == []
    theirs.fetch(remote)
    assert len(theirs.push(other).commits) == 2


def test_a_commit_that_would_need_many_packs_or_tables_sends_the_small_ones_again(
    ours: Side, theirs: Side, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push_plan, "MAX_PACKS", 6)
    monkeypatch.setattr(push_plan, "KEPT_PACKS", 3)
    monkeypatch.setattr(push_plan, "MAX_TABLES", 2)
    ids = []
    for number in range(30):
        write_pages(ours.data / f"file{number}", 3, seed=number)
        change_page(ours.data / "table", number, b"changed")
        ids.append(ours.commit(str(number)))
        ours.push(remote)
        manifest = read_manifest(remote.repository(SHOP), remote.repository(SHOP).resolve(Tag("master")) or Digest(""))
        assert len(manifest.packs) <= 7
        assert len(manifest.tables) <= 3
    theirs.pull(remote)
    assert differences(describe(ours.data), describe(theirs.data)) == []
    tree = describe(ours.data)
    for commit_id in (ids[0], ids[13], ids[29]):
        theirs.restore(commit_id)
        ours.restore(commit_id)
        assert differences(describe(ours.data), describe(theirs.data)) == []
    assert differences(tree, describe(theirs.data)) == []
    assert verify_remote(remote, SHOP).damage == ()


def test_chains_are_as_short_as_the_format_says(ours: Side, remote: Remote) -> None:
    for number in range(70):
        change_page(ours.data / "table", number, b"changed")
        ours.commit()
        ours.push(remote)
    repository = remote.repository(SHOP)
    manifest = read_manifest(repository, repository.resolve(Tag("master")) or Digest(""))
    known = {ref: d for layer in manifest.tables for ref, d in read_table(repository, layer).definitions.items()}
    versions = [d.version for d in max((chain(known, ref) for ref in known), key=len)]
    assert versions == [69, 68, 67, 66, 65, 64, 0]


def test_a_commit_can_be_fetched_by_its_id(ours: Side, theirs: Side, remote: Remote) -> None:
    one = ours.commit("one")
    (ours.data / "new").write_text("new")
    ours.commit("two")
    ours.push(remote)
    got = theirs.fetch(remote, one)
    assert (got.head, got.branch, got.commits) == (one, None, (one,))


@both_kinds
def test_two_fetches_of_one_dot_exclude_each_other_and_gc_leaves_them_alone(ours: Side, theirs: Side, remote: Remote) -> None:
    ours.commit()
    ours.push(remote)
    with download(remote, SHOP, DEFAULT_BRANCH, theirs.store, DOT) as got:
        with pytest.raises(InUseError):
            theirs.fetch(remote)
        assert theirs.store.garbage(_now()).leftovers == 0
        theirs.store.collect(_now())
        got.publish()
    assert theirs.store.exchange().has_commit(DOT, got.report.head)
    assert theirs.store.check({}, repair=False).sound


def _now() -> datetime:
    return datetime.now(UTC)


def test_what_an_abandoned_fetch_left_is_garbage(ours: Side, theirs: Side, remote: Remote) -> None:
    ours.commit()
    ours.push(remote)
    with download(remote, SHOP, DEFAULT_BRANCH, theirs.store, DOT):
        pass
    assert theirs.store.garbage(_now()).leftovers == 1
    theirs.store.collect(_now())
    assert list((theirs.root / "store" / "incoming").iterdir()) == []
    theirs.pull(remote)
    assert differences(describe(ours.data), describe(theirs.data)) == []


def test_one_hundred_commits_arrive_and_chains_stay_short(ours: Side, theirs: Side, remote: Remote) -> None:
    trees = {}
    for number in range(100):
        change_page(ours.data / "table", number % 90, f"commit {number}".encode())
        if number % 10 == 0:
            (ours.data / f"file{number}").write_text(str(number) * 100)
        commit_id = ours.commit(str(number))
        if number % 30 == 0:
            trees[commit_id] = describe(ours.data)
        if number % 7 == 0:
            ours.push(remote)
    ours.push(remote)
    got = theirs.pull(remote)
    assert len(got.commits) == 100
    assert differences(describe(ours.data), describe(theirs.data)) == []
    for commit_id, tree in trees.items():
        theirs.restore(commit_id)
        assert differences(tree, describe(theirs.data)) == []
    shallow = Side(theirs.root.parent / "shallow")
    tip = shallow.fetch(remote, depth=1)
    shallow.restore(tip.head)
    assert differences(describe(ours.data), describe(shallow.data)) == []
    assert tip.received_bytes < got.received_bytes
    shallow.close()


def test_twenty_branches_share_what_they_have_in_common(ours: Side, theirs: Side, remote: Remote) -> None:
    base = ours.commit("base")
    first = ours.push(remote)
    sent = 0
    for number in range(20):
        branch = RefName(f"b/{number}")
        ours.store.add_branch(DOT, branch, base)
        ours.restore(base, branch)
        change_page(ours.data / "table", number, b"branch")
        ours.commit(f"on {number}")
        sent += ours.push(remote, branch).sent_bytes
    assert sent < first.sent_bytes
    for number in range(20):
        branch = RefName(f"b/{number}")
        theirs.pull(remote, branch)
        assert theirs.messages(branch) == [f"on {number}", "base"]
    ours.restore(ours.head(RefName("b/19")), RefName("b/19"))
    assert differences(describe(ours.data), describe(theirs.data)) == []


def test_two_dots_of_one_name_in_two_namespaces_are_two(ours: Side, remote: Remote) -> None:
    ours.commit()
    for namespace in ("alice", "bob"):
        push(ours.store, DOT, DEFAULT_BRANCH, remote, RemoteName.parse(f"{namespace}/shop"))
    assert [str(name) for name in remote.repositories()] == ["alice/shop", "bob/shop"]


def test_a_directory_that_others_can_read_is_warned_of(ours: Side, tmp_path: Path) -> None:
    ours.commit()
    place = tmp_path / "remote"
    assert ours.push(directory_remote(place)).warnings == ()
    assert os.stat(place).st_mode & 0o077 == 0
    shutil.rmtree(place)
    shared = Path("/tmp") / f"dm-compose-test-{os.getpid()}"
    shared.mkdir(mode=0o755)
    try:
        (warning,) = ours.push(directory_remote(shared)).warnings
        assert str(shared) in warning
    finally:
        shutil.rmtree(shared)


def test_an_empty_tree_and_a_dot_with_no_subdot_travel(theirs: Side, remote: Remote, tmp_path: Path) -> None:
    empty = Side(tmp_path / "empty")
    empty.commit("empty")
    entry = empty.store.prepare_commit(DOT, MAIN_WORKTREE, {})
    empty.store.capture(entry)
    empty.store.publish(entry, CommitDraft("nothing", "tester"))
    empty.push(remote)
    got = theirs.fetch(remote)
    assert len(got.commits) == 2
    empty.close()
