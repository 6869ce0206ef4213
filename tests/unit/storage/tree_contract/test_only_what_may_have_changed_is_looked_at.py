"""A capture of a large tree looks only at what may have changed since the look before, and finds the same as a whole look."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dm_compose.core.tree import Manifest
from dm_compose.storage import capture
from dm_compose.storage.beneath import Root
from dm_compose.storage.dirt import Dirt
from dm_compose.storage.scan import Tree, scan
from tests.support.capabilities import why_no_watch
from tests.support.places import Place, check, needs_root, zoo
from tests.support.stores import DATA, DOT
from tests.support.trees import describe

pytestmark = needs_root


@pytest.fixture
def watched(place: Place, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Return a place where every tree counts as large."""
    if (reason := why_no_watch(place.trees)) is not None:
        pytest.skip(reason)
    monkeypatch.setattr(capture, "WATCHED_PATHS", 0)
    return place


def no_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> Tree:
        raise AssertionError("the whole tree was looked at")

    monkeypatch.setattr(capture, "scan", fail)
    monkeypatch.setattr(capture, "scan_synced", fail)


def swap(root: Path) -> None:
    (root / "one").rename(root / "three")
    (root / "two").rename(root / "one")
    (root / "three").rename(root / "two")


def replaced(root: Path) -> None:
    (root / "new").write_bytes(b"other")
    (root / "new").rename(root / "one/a")


def nested(root: Path) -> None:
    (root / "deep/er/est").mkdir(parents=True)
    (root / "deep/er/est/file").write_bytes(b"deep")
    (root / "deep/er/first").write_bytes(b"first")


def moved_in(root: Path) -> None:
    outside = root.parent / "outside"
    (outside / "in/side").mkdir(parents=True)
    (outside / "in/side/x").write_bytes(b"x")
    (outside / "in").rename(root / "one/in")


def to_file(root: Path) -> None:
    shutil.rmtree(root / "two")
    (root / "two").write_bytes(b"a file now")


def to_directory(root: Path) -> None:
    (root / "one/a").unlink()
    (root / "one/a").mkdir()
    (root / "one/a/within").write_bytes(b"w")


CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda root: None,
    "written": lambda root: (root / "one/a").write_bytes(b"written"),
    "truncated": lambda root: os.truncate(root / "one/a", 1),
    "made": lambda root: (root / "one/0-first").write_bytes(b"made"),
    "removed": lambda root: (root / "one/a").unlink(),
    "tree removed": lambda root: shutil.rmtree(root / "two"),
    "renamed": lambda root: (root / "one/a").rename(root / "two/a-here"),
    "directory renamed": lambda root: (root / "two").rename(root / "one/two"),
    "swapped": swap,
    "replaced": replaced,
    "nested": nested,
    "moved in": moved_in,
    "moved out": lambda root: (root / "two").rename(root.parent / "gone"),
    "mode": lambda root: (root / "one/a").chmod(0o600),
    "owner of the root": lambda root: os.chown(root, 7, 8),
    "attribute": lambda root: os.setxattr(root / "one/a", "user.note", b"x"),
    "times": lambda root: os.utime(root / "one/a", ns=(5, 5)),
    "symlink": lambda root: ((root / "link").unlink(), (root / "link").symlink_to("two")),
    "to a file": to_file,
    "to a directory": to_directory,
    "pipe": lambda root: os.mkfifo(root / "two/pipe"),
}


def build(root: Path) -> None:
    for directory in ("one", "two", "two/inner"):
        (root / directory).mkdir()
        for name in ("a", "b", "ü"):
            (root / directory / name).write_bytes(f"{directory} {name}".encode() * 100)
    (root / "link").symlink_to("one")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_each_change_is_found_without_a_scan(
    watched: Place, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]
) -> None:
    root = watched.tree()
    build(root)
    bench = watched.bench(data=root)
    bench.commit()
    (root / "two/b").write_bytes(b"to be copied early")
    entry = bench.prepare()
    with monkeypatch.context() as until_captured:
        no_scan(until_captured)
        change(root)
        bench.store.capture(entry)
    wanted = describe(root)
    commit = bench.publish(entry)
    with Root(str(root)).open() as files:
        order = list(scan(files, {}))
    manifest = bench.store.exchange().manifest(bench.store.commit(DOT, commit).subdots[DATA].manifest)
    assert list(Manifest.decode(manifest, name="it").entries) == order
    assert bench.differing(commit) == []
    (root / "one").mkdir(exist_ok=True)
    (root / "one/later").write_bytes(b"later")
    bench.restore(commit)
    check(wanted, root)


def test_many_changes_in_a_row_are_found(watched: Place) -> None:
    root = watched.tree()
    zoo(root)
    bench = watched.bench(data=root)
    rng = random.Random(3)
    for number in range(12):
        entry = bench.prepare()
        for _ in range(rng.randrange(6)):
            files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
            directories = [root, *sorted(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())]
            act = rng.randrange(5)
            if act == 0:
                rng.choice(files).write_bytes(rng.randbytes(rng.choice((3, 5000))))
            elif act == 1:
                (rng.choice(directories) / f"new{rng.random()}").write_bytes(b"new")
            elif act == 2:
                rng.choice(files).unlink()
            elif act == 3:
                (rng.choice(directories) / f"dir{rng.random()}").mkdir()
            else:
                rng.choice(files).rename(rng.choice(directories) / f"moved{rng.random()}")
        bench.store.capture(entry)
        wanted = describe(root)
        commit = bench.publish(entry)
        assert bench.differing(commit) in ([], [DATA])
        (root / f"later{number}").write_bytes(b"later")
        bench.restore(commit)
        check(wanted, root)


def test_a_second_name_of_a_file_is_found(watched: Place) -> None:
    root = watched.tree()
    build(root)
    bench = watched.bench(data=root)
    bench.commit()
    entry = bench.prepare()
    os.link(root / "one/a", root / "0-before")
    bench.store.capture(entry)
    wanted = describe(root)
    commit = bench.publish(entry)
    (root / "0-before").unlink()
    bench.restore(commit)
    check(wanted, root)


@pytest.fixture
def dirt(tmp_path: Path) -> Iterator[tuple[Dirt, int]]:
    """Give a watch of a directory, and a descriptor of it."""
    if (reason := why_no_watch(tmp_path)) is not None:
        pytest.skip(reason)
    (tmp_path / "a \\tree").mkdir()  # characters that the kernel's list of mounts escapes
    fd = os.open(tmp_path / "a \\tree", os.O_RDONLY | os.O_DIRECTORY)
    found = Dirt.begin(fd)
    assert found is not None
    yield found, fd
    found.close()
    os.close(fd)


def test_nothing_is_known_when_the_kernel_has_lost_reports(dirt: tuple[Dirt, int], tmp_path: Path) -> None:
    watch, fd = dirt
    assert watch.inodes(fd) is not None
    with watch._guard:  # nobody reads the kernel's queue meanwhile
        for number in range(17_000):
            (tmp_path / str(number)).touch()
    assert watch.inodes(fd) is None


@pytest.mark.parametrize("place", ["beside", "a \\tree/within", "a \\tree"])
def test_nothing_is_known_when_something_was_mounted_in_the_tree(dirt: tuple[Dirt, int], tmp_path: Path, place: str) -> None:
    watch, fd = dirt
    (tmp_path / place).mkdir(exist_ok=True)
    assert watch.inodes(fd) is not None
    subprocess.run(["mount", "-t", "tmpfs", "none", tmp_path / place], check=True)
    try:
        assert (watch.inodes(fd) is not None) == (place == "beside")
    finally:
        subprocess.run(["umount", tmp_path / place], check=True)


def test_nothing_is_known_of_another_directory_in_the_place_of_the_watched_one(dirt: tuple[Dirt, int], tmp_path: Path) -> None:
    watch, _ = dirt
    tmp_path.joinpath("a \\tree").rename(tmp_path / "away")
    tmp_path.joinpath("a \\tree").mkdir()
    fd = os.open(tmp_path / "a \\tree", os.O_RDONLY | os.O_DIRECTORY)
    assert watch.inodes(fd) is None
    os.close(fd)
