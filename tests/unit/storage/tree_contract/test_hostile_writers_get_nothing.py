"""A writer who swaps directories with symlinks gets nothing from outside of the tree into a commit, and changes nothing there."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from dm_compose.errors import DmError
from dm_compose.objects.batch import Batch
from dm_compose.objects.mapped import StoredObject
from dm_compose.objects.store import ObjectStore
from tests.support.places import Place, needs_root
from tests.support.stores import Bench
from tests.support.swapping import exchange, swapping
from tests.support.trees import describe, differences

pytestmark = needs_root

SECRET = b"root:$6$hash:19000:0:99999:7:::\n" * 20
PAYLOAD = b"evil::0:0::/:/bin/sh\n"
NOBODY = 65534
SECONDS = 3.0


def hosts(place: Place) -> Path:
    """Return a directory of the host with a file `f` that is nobody's business."""
    outside = place.trees / "etc"
    outside.mkdir(mode=0o755)
    (outside / "f").write_bytes(SECRET)
    os.chmod(outside / "f", 0o644)
    return outside


def traps(tree: Path, outside: Path, count: int, data: bytes) -> None:
    """Make directories x0, x1, ... with a file, and symlinks y0, y1, ... to the host's directory, all of them nobody's."""
    os.chown(tree, NOBODY, NOBODY)
    for number in range(count):
        (tree / f"x{number}").mkdir()
        (tree / f"x{number}/f").write_bytes(data)
        os.symlink(outside, tree / f"y{number}")
        for path in (f"x{number}", f"x{number}/f", f"y{number}"):
            os.lchown(tree / path, NOBODY, NOBODY)


def leaked(bench: Bench) -> list[str]:
    """Return the objects that hold the secret."""
    objects = bench.local.root / "objects"
    return [str(path) for path in objects.rglob("*") if path.is_file() and path.read_bytes().startswith(SECRET[:16])]


def test_a_parent_that_is_swapped_while_its_file_is_copied_early_leads_nowhere(
    copying: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, outside = copying.tree(), hosts(copying)
    traps(tree, outside, 1, bytes(len(SECRET)))
    bench = copying.bench(data=tree)
    original = Batch.add

    def add(batch: Batch, source_fd: int, *more: Any, **options: Any) -> str:
        exchange(tree / "x0", tree / "y0")
        return original(batch, source_fd, *more, **options)

    monkeypatch.setattr(Batch, "add", add)
    entry = bench.prepare()
    monkeypatch.undo()
    if (tree / "x0").is_symlink():
        exchange(tree / "x0", tree / "y0")  # the file's ctime is as it was
    bench.store.capture(entry)
    commit = bench.publish(entry)
    assert leaked(bench) == []
    (tree / "x0/f").unlink()
    bench.restore(commit)
    assert (tree / "x0/f").read_bytes() == bytes(len(SECRET))


def test_a_parent_that_is_swapped_before_a_file_is_rewritten_saves_the_hosts_file(
    copying: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, outside = copying.tree(), hosts(copying)
    traps(tree, outside, 1, PAYLOAD)
    bench = copying.bench(data=tree)
    commit = bench.commit()
    (tree / "x0/f").write_bytes(b"changed")
    before, original, opened = describe(outside), ObjectStore.open_object, []

    def open_object(store: ObjectStore, ref: str) -> StoredObject:
        opened.append(ref)
        if len(opened) == 2:  # the first time it is only checked
            exchange(tree / "x0", tree / "y0")
        return original(store, ref)

    monkeypatch.setattr(ObjectStore, "open_object", open_object)
    with pytest.raises(DmError, match="removed or replaced while it was restored"):
        bench.restore(commit)
    monkeypatch.undo()
    assert differences(before, describe(outside)) == []
    bench.finish(bench.store.unfinished(bench.dot)[0].id)
    assert (tree / "x0/f").read_bytes() == PAYLOAD


def test_commits_under_swapped_directories_hold_nothing_from_outside(place: Place) -> None:
    tree, outside = place.tree(), hosts(place)
    traps(tree, outside, 60, bytes(len(SECRET)))
    bench = place.bench(data=tree)
    end, commits = time.monotonic() + SECONDS, 0
    with swapping(tree, 60) as writer:
        while time.monotonic() < end:
            entry = bench.prepare()
            writer.send_signal(signal.SIGSTOP)  # the freeze
            bench.store.capture(entry)
            bench.publish(entry)
            writer.send_signal(signal.SIGCONT)
            commits += 1
            for number in range(60):  # so that the next commit copies them again
                for name in ("x", "y"):
                    if not (tree / f"{name}{number}").is_symlink():
                        os.utime(tree / f"{name}{number}/f", ns=(commits, commits), follow_symlinks=False)
    assert commits > 1
    assert leaked(bench) == []


def test_restores_under_swapped_directories_change_nothing_outside(place: Place) -> None:
    tree, outside = place.tree(), hosts(place)
    traps(tree, outside, 60, PAYLOAD)
    bench = place.bench(data=tree)
    commit = bench.commit()
    before, end, rounds = describe(outside), time.monotonic() + SECONDS, 0
    with swapping(tree, 60, uid=NOBODY) as writer:
        while time.monotonic() < end:
            writer.send_signal(signal.SIGSTOP)
            for number in range(60):
                for name in ("x", "y"):
                    if not (tree / f"{name}{number}").is_symlink() and (tree / f"{name}{number}/f").is_file():
                        (tree / f"{name}{number}/f").write_bytes(b"changed")
            writer.send_signal(signal.SIGCONT)
            try:
                bench.restore(commit)
            except DmError:
                for entry in bench.store.unfinished(bench.dot):
                    bench.store.close_entry(entry.id)
            rounds += 1
            assert differences(before, describe(outside)) == []
    assert rounds > 1


def test_a_file_that_changes_at_each_look_is_taken_as_it_is_read(copying: Place) -> None:
    tree = copying.tree()
    (tree / "file").write_bytes(b"x" * 5000)
    bench = copying.bench(data=tree)
    entry = bench.prepare()
    original = os.fstat

    def growing(fd: int) -> os.stat_result:  # somebody appends whenever we look
        with open(tree / "file", "ab") as file:
            file.write(b"more")
        return original(fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dm_compose.storage.capture.os.fstat", growing)
        (tree / "file").write_bytes(b"y" * 5000)
        bench.store.capture(entry)
    commit = bench.publish(entry)
    held = (bench.local.root / "objects").rglob("*")
    assert any(path.is_file() and path.read_bytes().startswith(b"y" * 5000) for path in held)
    (tree / "file").unlink()
    bench.restore(commit)
    assert (tree / "file").read_bytes().startswith(b"y" * 5000 + b"more")
