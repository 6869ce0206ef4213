"""A commit that cannot be restored is refused before anything is touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dm_compose.errors import DamagedError, StoreError
from dm_compose.storage.beneath import Root
from dm_compose.storage.restore import restore_tree
from tests.support.places import Place, check, needs_root, zoo
from tests.support.stores import DATA
from tests.support.trees import (
    describe,
)

pytestmark = needs_root


def stored_objects(place: Place) -> list[Path]:
    return sorted(p for p in (place.stores / "store/objects").rglob("*") if p.is_file() and p.suffix != ".manifest")


def test_a_restore_with_a_missing_object_names_it_and_touches_nothing(place: Place) -> None:
    tree = place.tree()
    for name in ("one", "two", "three"):
        (tree / name).write_bytes(name.encode() * 1000)
    bench = place.bench(data=tree)
    commit = bench.commit()
    for damage in ("rewrite", "create"):
        (tree / "one").write_bytes(b"changed")
        (tree / "new").write_bytes(b"uncommitted work")
        if damage == "create":
            (tree / "two").unlink()
        wanted = describe(tree)
        objects = stored_objects(place)
        kept = [(path, path.read_bytes()) for path in objects]
        for path in objects:
            path.unlink()
        with pytest.raises(DamagedError, match=f"{commit}/"):
            bench.restore(commit)
        check(wanted, tree)
        for path, data in kept:
            path.write_bytes(data)
    bench.restore(commit)
    assert sorted(os.listdir(tree)) == ["one", "three", "two"]


@pytest.mark.parametrize("size", [0, 100, 20_000])
def test_an_object_of_the_wrong_size_is_damage_and_not_contents(place: Place, size: int) -> None:
    tree = place.tree()
    (tree / "file").write_bytes(b"contents" * 1000)
    bench = place.bench(data=tree)
    commit = bench.commit()
    (path,) = stored_objects(place)
    os.truncate(path, size)
    for damage in (lambda: (tree / "file").write_bytes(b"uncommitted"), lambda: (tree / "file").unlink()):
        damage()
        wanted = describe(tree)
        with pytest.raises(DamagedError, match=f"{commit}/"):
            bench.restore(commit)
        check(wanted, tree)


def test_a_restore_into_a_directory_that_is_gone_is_an_error_that_names_it(place: Place) -> None:
    tree = place.tree()
    (tree / "file").write_bytes(b"x")
    bench = place.bench(data=tree)
    commit = bench.commit()
    shutil.rmtree(tree)
    with pytest.raises(StoreError, match=str(tree)):
        bench.restore(commit)
    assert not tree.exists()


def test_restore_tree_says_nothing_was_done_for_an_equal_tree(place: Place) -> None:
    tree = place.tree()
    zoo(tree)
    bench = place.bench(data=tree)
    commit = bench.commit()
    known = bench.local._known(bench.store.dots()[0], "main", DATA)  # type: ignore[arg-type]
    manifest = bench.local._manifests(bench.store.commit(bench.store.dots()[0], commit))[DATA]
    with Root(str(tree)).open() as files:
        index, done = restore_tree(files, known, manifest, bench.local._objects)
    assert done.paths == 0
    assert index == known
