"""`fsck` repairs only what it can prove."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dm_compose.core.names import MAIN_WORKTREE, CommitId, SubdotName
from dm_compose.core.upkeep import Checkup, Damage, Garbage
from dm_compose.errors import NotFoundError
from dm_compose.objects.contents import OpenFile
from dm_compose.storage.scan import Tree
from tests.support.keeping import LONG_AGO, OTHER, TAG, Kept, Shelf, flip, lose, soon, truncate
from tests.support.stores import DATA, DOT, Stores
from tests.support.subdots import LOGS
from tests.support.trees import describe, differences
from tests.support.worktrees import SECOND


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
    tree = Tree(shelf.kept.bench.local._indexes.load((DOT, MAIN_WORKTREE, LOGS)))
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
    original = OpenFile.copy_to

    def late(source: OpenFile, fd: int) -> bool:
        path.write_bytes(b"X" * live.entry.size)
        return original(source, fd)

    monkeypatch.setattr(OpenFile, "copy_to", late)
    lose(shelf.root / live.entry.ref)
    (found,) = shelf.check(repair=True).damage
    assert not found.repaired
    assert list((shelf.kept.home / "store/incoming").iterdir()) == []


def test_after_a_boot_a_digest_proves_what_the_index_does_not(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    live = next(f for f in proven(shelf, LOGS) if f.entry.path == "one")
    shelf.check()
    lose(shelf.root / live.entry.ref)
    shelf.kept.bench.local._indexes._cache.clear()
    monkeypatch.setattr("dm_compose.storage.index.boot_id", lambda: "another boot")
    (found,) = shelf.check(repair=True).damage
    assert found.repaired


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
