"""Every name and every kind of file comes back."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.places import Place, Step, files, needs_root, survives
from tests.support.stores import DATA
from tests.support.trees import (
    describe,
    differences,
    make_socket,
)

pytestmark = needs_root


def test_restore_keeps_a_symlink_as_it_is(place: Place) -> None:
    targets = [b"file", b"nowhere/at all", b"/etc/passwd", b"../../..", b"\xff\xfe", b"a\nb", b"x" * 1000]

    def build(root: Path) -> None:
        (root / "file").write_bytes(b"x")
        for number, target in enumerate(targets):
            for name in (b"changed", b"deleted"):
                os.symlink(target, b"%s/%s%d" % (bytes(root), name, number))
            os.lchown(root / f"changed{number}", 12, 13)

    def damage(root: Path) -> None:
        for number in range(len(targets)):
            (root / f"changed{number}").unlink()
            os.symlink("elsewhere", root / f"changed{number}")
            (root / f"deleted{number}").unlink()

    survives(place, build, damage)


def test_restoring_a_symlinks_owner_leaves_its_target_alone(place: Place) -> None:
    outside = place.trees / "outside"
    outside.write_bytes(b"x")
    os.chmod(outside, 0o640)
    before = describe(outside)

    def build(root: Path) -> None:
        os.symlink(outside, root / "link")
        os.lchown(root / "link", 12, 13)

    survives(place, build, lambda root: os.lchown(root / "link", 0, 0))
    assert differences(before, describe(outside)) == []


NAMES = [
    b"\xff\xfe bytes",
    b"line\nbreak",
    b" ",
    b"-rf",
    b"-",
    b"\xff" * 255,
    b"*",
    b"caf\xc3\xa9",
    b"cafe\xcc\x81",
    b"\x01",
    b"a" * 255,
    b"\\",
    b"'\"",
]


def test_restore_keeps_any_name(place: Place) -> None:
    def build(root: Path) -> None:
        os.mkdir(bytes(root) + b"/d")
        os.mkdir(bytes(root) + b"/e")
        for name in NAMES:
            for where in (b"/d/" + name, b"/" + name):
                Path(os.fsdecode(bytes(root) + where)).write_bytes(name)
            os.mkdir(bytes(root) + b"/e/" + name)
            Path(os.fsdecode(bytes(root) + b"/e/" + name + b"/" + name)).write_bytes(name)

    def damage(root: Path) -> None:
        for name in NAMES:
            os.unlink(bytes(root) + b"/" + name)
            Path(os.fsdecode(bytes(root) + b"/d/" + name)).write_bytes(b"changed")
            shutil.rmtree(bytes(root) + b"/e/" + name)

    survives(place, build, damage)


def test_names_that_are_not_utf8_are_removed_when_they_were_added(place: Place) -> None:
    survives(place, lambda _: None, lambda root: os.mkdir(bytes(root) + b"/\xff"))


def test_empty_directories_come_and_go(place: Place) -> None:
    def build(root: Path) -> None:
        (root / "kept/below").mkdir(parents=True)

    def damage(root: Path) -> None:
        shutil.rmtree(root / "kept")
        (root / "new/below/deeper").mkdir(parents=True)

    survives(place, build, damage)


def test_an_empty_tree_can_be_committed(place: Place) -> None:
    survives(place, lambda _: None, lambda root: (root / "file").write_bytes(b"x"))


def test_deep_paths_come_back(place: Place) -> None:
    deep = "/".join(["d" * 100] * 30)

    def build(root: Path) -> None:
        (root / deep).mkdir(parents=True)
        (root / deep / "file").write_bytes(b"deep down")

    survives(place, build, lambda root: shutil.rmtree(root / ("d" * 100)))


@pytest.mark.parametrize("name", ["d" * 100, "\udcff" * 200, "\n-" * 40], ids=["letters", "bytes", "line breaks"])
def test_a_tree_deeper_than_path_max_comes_back(place: Place, name: str) -> None:
    levels = 9000 // len(os.fsencode(name))

    def enter(root: Path, change: Callable[[int], None]) -> None:
        at = os.open(root, os.O_PATH)
        for _ in range(levels):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, dir_fd=at)
            below = os.open(name, os.O_PATH, dir_fd=at)
            os.close(at)
            at = below
        change(at)
        os.close(at)

    def write(data: bytes) -> Callable[[int], None]:
        def change(at: int) -> None:
            with open(os.open("file", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=at), "wb") as file:
                file.write(data)

        return change

    def read(at: int) -> None:
        with open(os.open("file", os.O_RDONLY, dir_fd=at), "rb") as file:
            found.append(file.read())

    found: list[bytes] = []
    tree = place.tree()
    enter(tree, write(b"deep down"))
    bench = place.bench(data=tree)
    first = bench.commit()
    enter(tree, write(b"changed"))
    second = bench.commit()
    bench.restore(first)
    enter(tree, read)
    subprocess.run(["rm", "-rf", tree / name], check=True)
    bench.restore(second)
    enter(tree, read)
    empty = place.tree("elsewhere")
    bench.directories[DATA] = str(empty)
    bench.restore(first)
    enter(empty, read)
    assert found == [b"deep down", b"changed", b"deep down"]
    (tree / "only").touch()
    bench.directories[DATA] = str(tree)
    third = bench.commit()
    subprocess.run(["rm", "-rf", tree / name, tree / "only"], check=True)
    shallow = bench.commit()
    bench.restore(third)
    bench.restore(shallow)
    assert os.listdir(tree) == []


def test_many_entries_in_one_directory_come_back(place: Place) -> None:
    def build(root: Path) -> None:
        for number in range(600):
            (root / f"{number}").write_bytes(b"%d" % number)

    def damage(root: Path) -> None:
        for number in range(0, 600, 3):
            (root / f"{number}").unlink()
        for number in range(1, 600, 3):
            (root / f"{number}").write_bytes(b"x")

    survives(place, build, damage)


def test_a_file_of_no_bytes_comes_back(place: Place) -> None:
    def damage(root: Path) -> None:
        (root / "deleted").unlink()
        (root / "grown").write_bytes(b"x" * 5000)

    survives(place, files(deleted=b"", grown=b"", kept=b""), damage)


def test_a_file_emptied_comes_back(place: Place) -> None:
    survives(place, files(file=b"x" * 5000), lambda root: os.truncate(root / "file", 0))


def test_fifos_come_back_and_are_never_opened(place: Place) -> None:
    def build(root: Path) -> None:
        for name in ("deleted", "changed"):
            os.mkfifo(root / name, 0o640)
            os.chown(root / name, 3, 4)

    def damage(root: Path) -> None:
        (root / "deleted").unlink()
        os.chmod(root / "changed", 0o600)
        os.mkfifo(root / "new")

    survives(place, build, damage)


def test_device_nodes_come_back(place: Place) -> None:
    def build(root: Path) -> None:
        for name in ("deleted", "other", "mode"):
            os.mknod(root / name, stat.S_IFCHR | 0o640, os.makedev(1, 3))
        os.mknod(root / "block", stat.S_IFBLK | 0o600, os.makedev(259, 200_000))

    def damage(root: Path) -> None:
        (root / "deleted").unlink()
        (root / "other").unlink()
        os.mknod(root / "other", stat.S_IFCHR | 0o640, os.makedev(1, 5))
        os.chmod(root / "mode", 0o600)
        (root / "block").unlink()

    survives(place, build, damage)


MAKERS: dict[str, Step] = {
    "file": lambda p: p.write_bytes(b"contents"),
    "directory": lambda p: (p.mkdir(), (p / "below").mkdir(), (p / "below/file").write_bytes(b"x"), make_socket(p / "below/s")),
    "symlink": lambda p: os.symlink("/nowhere", p),
    "fifo": lambda p: os.mkfifo(p),
    "device": lambda p: os.mknod(p, stat.S_IFCHR | 0o600, os.makedev(1, 3)),
    "socket": make_socket,
}


@pytest.mark.parametrize(("committed", "now"), [(a, b) for a in MAKERS for b in MAKERS if a not in (b, "socket")])
def test_whatever_took_a_paths_place_makes_room(copying: Place, committed: str, now: str) -> None:
    def damage(root: Path) -> None:
        path = root / "it"
        shutil.rmtree(path) if committed == "directory" else path.unlink()
        MAKERS[now](path)

    survives(copying, lambda root: MAKERS[committed](root / "it"), damage)


def test_a_file_replaced_by_a_directory_and_a_directory_by_a_file_come_back(place: Place) -> None:
    def build(root: Path) -> None:
        (root / "file").write_bytes(b"x" * 5000)
        (root / "directory/below").mkdir(parents=True)
        (root / "directory/below/file").write_bytes(b"y")

    def damage(root: Path) -> None:
        (root / "file").unlink()
        (root / "file/below").mkdir(parents=True)
        (root / "file/below/file").write_bytes(b"z")
        shutil.rmtree(root / "directory")
        (root / "directory").write_bytes(b"z")

    survives(place, build, damage)


def test_sockets_are_no_state(place: Place) -> None:
    tree = place.tree()
    (tree / "d").mkdir()
    make_socket(tree / "d/server.sock")
    bench = place.bench(data=tree)
    commit = bench.commit()
    assert bench.store.commit(bench.store.dots()[0], commit).subdots[DATA].files == 0
    (tree / "d/server.sock").unlink()
    bench.restore(commit)
    assert os.listdir(tree / "d") == []


def test_a_socket_in_a_kept_directory_stays(place: Place) -> None:
    tree = place.tree()
    (tree / "d").mkdir()
    (tree / "d/file").write_bytes(b"x")
    bench = place.bench(data=tree)
    commit = bench.commit()
    make_socket(tree / "d/server.sock")
    (tree / "d/file").write_bytes(b"changed")
    bench.restore(commit)
    assert sorted(os.listdir(tree / "d")) == ["file", "server.sock"]
    assert (tree / "d/file").read_bytes() == b"x"


def test_sockets_do_not_keep_a_directory_from_being_removed(place: Place) -> None:
    def damage(root: Path) -> None:
        (root / "new/below").mkdir(parents=True)
        make_socket(root / "new/one")
        make_socket(root / "new/below/two")

    survives(place, files(file=b"x"), damage)


def test_a_file_comes_back_where_a_socket_is_now(place: Place) -> None:
    def damage(root: Path) -> None:
        (root / "file").unlink()
        make_socket(root / "file")

    survives(place, files(file=b"x"), damage)
