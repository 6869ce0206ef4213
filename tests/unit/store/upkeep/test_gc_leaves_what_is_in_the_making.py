"""`gc` leaves alone what is in the making, and removes what killed commands left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.commit import CommitDraft, Worktree
from dm_compose.core.names import MAIN_WORKTREE, CommitId, DotName
from tests.support.keeping import OTHER, Kept, soon
from tests.support.stores import DATA, Bench, Stores, TreeBench
from tests.support.trees import describe, differences
from tests.support.worktrees import FEATURE, SECOND


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
    entry = kept.bench.prepare()
    kept.store.capture(entry)
    kept.store.collect(soon())
    kept.note(kept.bench.publish(entry))
    assert kept.wrong() == set()


STEPS = ["batches", "files", "objects_of", "commits", "journal", "moves", "parents", "remove_digests", "transaction", "dots"]


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
            entry = other.prepare_commit(dot, MAIN_WORKTREE, other.tree(dot, MAIN_WORKTREE))
            other.capture(entry)
            commit = other.publish(entry, CommitDraft("new", "me")).id
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
    entry = other.prepare_commit(OTHER, MAIN_WORKTREE, own.bench.directories)
    other.capture(entry)
    database: Any = Bench(other).local._database
    original = database.add_commit

    def late(added: Any) -> None:
        database._connection.execute("ROLLBACK")  # the moment before the transaction
        own.store.collect(soon())
        database._connection.execute("BEGIN IMMEDIATE")
        original(added)

    monkeypatch.setattr(database, "add_commit", late)
    commit = other.publish(entry, CommitDraft("new", "me")).id
    other.export(OTHER, commit, str(own.home / "other"))
    assert own.store.check({}, repair=False).sound
