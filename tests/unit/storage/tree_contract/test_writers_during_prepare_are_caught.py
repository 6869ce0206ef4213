"""Files that are written to while a commit is prepared are in it as they are at the capture."""

from __future__ import annotations

import os
import random
import shutil
import threading
from pathlib import Path

import pytest

from dm_compose.errors import DmError
from tests.support.places import MIB, Place, check, needs_root
from tests.support.trees import (
    allocated,
    describe,
)

pytestmark = [needs_root, pytest.mark.usefixtures("look")]


def test_a_change_between_prepare_and_capture_is_in_the_commit(anywhere: Place) -> None:
    tree = anywhere.tree()
    for name in ("patched", "grown", "shrunk", "replaced", "untouched", "emptied"):
        (tree / name).write_bytes(random.Random(name).randbytes(300_000))
    bench = anywhere.bench(data=tree)
    entry = bench.prepare()
    with open(tree / "patched", "r+b") as file:
        file.seek(200_000)
        file.write(b"late")
    with open(tree / "grown", "ab") as file:
        file.write(b"late" * 50_000)
    os.truncate(tree / "shrunk", 12_345)
    (tree / "new").write_bytes(b"late" * 100)
    (tree / "new").rename(tree / "replaced")
    os.truncate(tree / "emptied", 0)
    wanted = describe(tree)
    bench.store.capture(entry)
    commit = bench.publish(entry)
    for item in tree.iterdir():
        item.unlink()
    bench.restore(commit)
    check(wanted, tree)


def test_a_hole_punched_between_prepare_and_capture_is_in_the_commit(place: Place) -> None:
    tree = place.tree()
    (tree / "file").write_bytes(b"x" * MIB)
    bench = place.bench(data=tree)
    entry = bench.prepare()
    os.truncate(tree / "file", 0)
    os.truncate(tree / "file", MIB)
    bench.store.capture(entry)
    commit = bench.publish(entry)
    (tree / "file").unlink()
    bench.restore(commit)
    assert (tree / "file").read_bytes() == bytes(MIB)
    assert allocated(tree / "file") < 64 * 1024


def test_a_file_deleted_between_prepare_and_capture_is_not_in_the_commit(place: Place) -> None:
    tree = place.tree()
    for name in ("deleted", "kept", "now a directory", "now a link"):
        (tree / name).write_bytes(name.encode() * 1000)
    bench = place.bench(data=tree)
    entry = bench.prepare()
    (tree / "deleted").unlink()
    (tree / "now a directory").unlink()
    (tree / "now a directory").mkdir()
    (tree / "now a link").unlink()
    os.symlink("kept", tree / "now a link")
    wanted = describe(tree)
    bench.store.capture(entry)
    commit = bench.publish(entry)
    (tree / "deleted").write_bytes(b"again")
    bench.restore(commit)
    check(wanted, tree)
    objects = [path for path in (place.stores / "store/objects" / commit).iterdir() if not path.name.endswith(".manifest")]
    assert len(objects) == 1, "the copies of files that went are not kept"


def test_a_file_created_between_prepare_and_capture_is_in_the_commit(place: Place) -> None:
    tree = place.tree()
    (tree / "old").write_bytes(b"old")
    bench = place.bench(data=tree)
    entry = bench.prepare()
    (tree / "d").mkdir()
    (tree / "d/new").write_bytes(b"new")
    os.link(tree / "old", tree / "a link, sorted first")
    wanted = describe(tree)
    bench.store.capture(entry)
    commit = bench.publish(entry)
    shutil.rmtree(tree / "d")
    (tree / "old").write_bytes(b"changed")
    bench.restore(commit)
    check(wanted, tree)


def test_a_copy_that_a_writer_tore_is_made_whole(anywhere: Place) -> None:
    tree = anywhere.tree()
    size = 4 * MIB
    (tree / "file").write_bytes(b"-" * size)
    bench = anywhere.bench(data=tree)
    for _ in range(4):
        stop = threading.Event()
        passes = [0]

        def write(stop: threading.Event = stop, passes: list[int] = passes) -> None:
            with open(tree / "file", "r+b", buffering=0) as file:
                while not stop.is_set():
                    passes[0] += 1
                    for offset in range(0, size, 128 * 1024):
                        os.pwrite(file.fileno(), bytes([passes[0] % 251]) * (128 * 1024), offset)
                        if stop.is_set():
                            break

        writer = threading.Thread(target=write)
        writer.start()
        while not passes[0]:
            pass
        entry = bench.prepare()
        stop.set()
        writer.join()
        wanted = (tree / "file").read_bytes()
        bench.store.capture(entry)
        commit = bench.publish(entry)
        (tree / "file").write_bytes(b"damage")
        bench.restore(commit)
        assert (tree / "file").read_bytes() == wanted


def churn(root: Path, stop: threading.Event, rounds: list[int]) -> None:
    """Do what writers do to a tree that is being copied: files truncate, grow, and change their kind."""
    rng = random.Random(3)
    while not stop.is_set():
        rounds[0] += 1
        for name in ("one", "two"):
            path = root / name
            if path.is_symlink() or path.is_file():
                path.unlink()
            elif path.is_dir():
                shutil.rmtree(path)
            kind = rng.randrange(4)
            if kind == 0:
                path.mkdir()
                (path / "below").write_bytes(b"x" * 1000)
            elif kind == 1:
                os.symlink("three", path)
            elif kind == 2:
                path.write_bytes(b"x" * rng.randrange(10_000))
            with open(root / "three", "r+b") as file:
                os.ftruncate(file.fileno(), 0)
                os.pwrite(file.fileno(), b"y" * 4096, rng.randrange(64) * 8192)


def test_writers_of_any_kind_never_make_prepare_fail(anywhere: Place) -> None:
    tree = anywhere.tree()
    (tree / "three").write_bytes(b"")
    bench = anywhere.bench(data=tree)
    stop, rounds = threading.Event(), [0]
    writer = threading.Thread(target=churn, args=(tree, stop, rounds))
    writer.start()
    failures = []
    try:
        for _ in range(25):
            seen = rounds[0]
            while rounds[0] == seen:
                pass
            try:
                bench.store.abandon(bench.prepare())
            except DmError as error:
                failures.append(error.message)
    finally:
        stop.set()
        writer.join()
    assert failures == []
