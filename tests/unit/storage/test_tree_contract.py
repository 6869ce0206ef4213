"""What comes back: a tree is committed, damaged and restored, where files are copied, cloned, and across file systems."""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dm_compose.errors import DamagedError, DmError, StoreError
from dm_compose.storage.contents import clone
from dm_compose.storage.restore import restore_tree
from dm_compose.storage.scan import RACY, scan
from tests.support import filesystems
from tests.support.processes import child
from tests.support.stores import DATA, Bench
from tests.support.trees import (
    ACL_OF_7,
    ACL_OF_8,
    CAP_CHOWN,
    CAP_NET_BIND,
    Description,
    allocated,
    describe,
    differences,
    inodes,
    make_socket,
)
from tests.unit.conftest import Place

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

MIB = 1 << 20
OLD_NS = 1_234_567_890_123_456_789
Step = Callable[[Path], object]


def check(wanted: Description, root: Path) -> None:
    """Fail with what differs."""
    assert differences(wanted, describe(root)) == []


def survives(place: Place, build: Step, damage: Step) -> Bench:
    """Commit what `build` makes; after `damage` a restore gives it back, and one into an empty directory makes the same."""
    tree = place.tree()
    build(tree)
    wanted = describe(tree)
    bench = place.bench(data=tree)
    commit = bench.commit()
    check(wanted, tree)
    damage(tree)
    assert differences(wanted, describe(tree)), "the damage must be visible to the test"
    assert bench.differing(commit) == [DATA]
    root_inode = os.stat(tree).st_ino
    bench.restore(commit)
    check(wanted, tree)
    assert os.stat(tree).st_ino == root_inode, "containers have the root directory mounted"
    assert bench.differing(commit) == []
    again = bench.commit()
    assert bench.store.diff_commits(bench.store.dots()[0], commit, again, {})[DATA].changes == ()

    elsewhere = place.tree("elsewhere")
    bench.directories[DATA] = str(elsewhere)
    bench.restore(commit)
    check(wanted, elsewhere)
    return bench


def files(**contents: bytes) -> Step:
    """Return a builder of a flat tree."""

    def build(root: Path) -> None:
        for name, data in contents.items():
            (root / name).write_bytes(data)

    return build


def test_the_place_clones_exactly_when_it_says_so(anywhere: Place) -> None:
    (anywhere.trees / "file").write_bytes(b"x" * 8192)
    assert clone(bytes(anywhere.trees / "file"), bytes(anywhere.stores / "copy")) is anywhere.reflinks


# Whole trees


def zoo(root: Path) -> None:
    """Make one of everything."""
    rng = random.Random(1)
    (root / "base/16384").mkdir(parents=True)
    (root / "empty").mkdir()
    for number in range(20):
        (root / f"base/16384/{number}").write_bytes(rng.randbytes(rng.choice((0, 1, 4095, 4096, 4097, 70_000))))
    os.link(root / "base/16384/3", root / "base/link")
    os.symlink("base/16384/4", root / "current")
    os.mkfifo(root / "pipe")
    with open(root / "sparse", "wb") as file:
        file.truncate(MIB)
        file.seek(300_000)
        file.write(b"middle")
    os.chown(root / "base", 999, 998)
    os.chmod(root / "base", 0o2750)
    os.setxattr(root / "base/16384/5", "user.note", b"\0\xff")


def wreck(root: Path, rng: random.Random) -> None:
    """Do to a tree whatever an engine, an administrator or a bug may do."""
    everything = [Path(d) / n for d, names, more in os.walk(root) for n in names + more]
    rng.shuffle(everything)
    for path in everything:
        if not os.path.lexists(path):
            continue
        info = os.lstat(path)
        fate = rng.randrange(10)
        if fate == 0:
            shutil.rmtree(path) if stat.S_ISDIR(info.st_mode) else path.unlink()
        elif fate == 1 and stat.S_ISREG(info.st_mode):
            with open(path, "r+b") as file:
                file.seek(rng.randrange(info.st_size + 9000))
                file.write(rng.randbytes(rng.randrange(1, 5000)))
        elif fate == 2 and stat.S_ISREG(info.st_mode):
            os.truncate(path, rng.randrange(info.st_size + 9000))
        elif fate == 3 and not stat.S_ISLNK(info.st_mode):
            os.chmod(path, rng.randrange(0o10000))
        elif fate == 4:
            os.lchown(path, rng.randrange(2000), rng.randrange(2000))
        elif fate == 5:
            shutil.rmtree(path) if stat.S_ISDIR(info.st_mode) else path.unlink()
            kind = rng.randrange(4)
            if kind == 0:
                path.mkdir()
                (path / "inside").write_bytes(rng.randbytes(100))
            elif kind == 1:
                os.symlink(rng.choice(("/etc", "nowhere", "base")), path)
            elif kind == 2:
                make_socket(path)
            else:
                path.write_bytes(rng.randbytes(3000))
        elif fate == 6:
            path.rename(path.with_name(f"renamed {path.name}"))
        elif fate == 7 and stat.S_ISREG(info.st_mode):
            os.link(path, path.with_name(f"linked {path.name}"))
    for number in range(rng.randrange(4)):
        (root / f"new {number} {rng.randrange(1000)}").write_bytes(rng.randbytes(2000))


@pytest.mark.parametrize("seed", range(10))
def test_any_damage_is_undone(anywhere: Place, seed: int) -> None:
    survives(anywhere, zoo, lambda root: wreck(root, random.Random(seed)))


def test_everything_deleted_comes_back(anywhere: Place) -> None:
    def delete(root: Path) -> None:
        for item in root.iterdir():
            shutil.rmtree(item) if item.is_dir() and not item.is_symlink() else item.unlink()

    survives(anywhere, zoo, delete)


def test_a_damaged_tree_is_itself_committed_and_both_come_back(anywhere: Place) -> None:
    tree = anywhere.tree()
    zoo(tree)
    bench = anywhere.bench(data=tree)
    states = []
    for seed in range(4):
        states.append((bench.commit(), describe(tree)))
        wreck(tree, random.Random(seed))
    for commit, wanted in [*states, *reversed(states), states[2], states[0]]:
        bench.restore(commit)
        check(wanted, tree)


def test_committing_changes_nothing_in_the_tree(place: Place) -> None:
    tree = place.tree()
    zoo(tree)
    bench = place.bench(data=tree)
    wanted, numbers = describe(tree), inodes(tree)
    ctimes = {name: os.lstat(tree / name).st_ctime_ns for name in numbers}
    bench.commit()
    bench.commit()
    check(wanted, tree)
    assert inodes(tree) == numbers
    assert {name: os.lstat(tree / name).st_ctime_ns for name in numbers} == ctimes


def test_restoring_an_unchanged_tree_touches_nothing(place: Place) -> None:
    tree = place.tree()
    zoo(tree)
    bench = place.bench(data=tree)
    commit = bench.commit()
    before = {name: os.lstat(tree / name) for name in inodes(tree)}
    (done,) = bench.restore(commit).values()
    assert (done.paths, done.changed_bytes) == (0, 0)
    after = {name: os.lstat(tree / name) for name in before}
    assert {n: (i.st_ino, i.st_ctime_ns) for n, i in after.items()} == {n: (i.st_ino, i.st_ctime_ns) for n, i in before.items()}


# Owners, modes, times, attributes


def test_restore_keeps_a_files_owner(place: Place) -> None:
    def build(root: Path) -> None:
        (root / "file").write_bytes(b"x")
        os.chown(root / "file", 999, 998)

    survives(place, build, lambda root: os.chown(root / "file", 0, 0))


def test_restore_keeps_a_directorys_owner_and_mode(place: Place) -> None:
    def build(root: Path) -> None:
        (root / "d").mkdir()
        os.chown(root / "d", 70, 71)
        os.chmod(root / "d", 0o700)

    def damage(root: Path) -> None:
        os.chown(root / "d", 0, 0)
        os.chmod(root / "d", 0o755)

    survives(place, build, damage)


MODES = [0o000, 0o400, 0o600, 0o644, 0o777, 0o4755, 0o2755, 0o1755, 0o6711, 0o7777]


def test_restore_keeps_every_mode_bit_of_a_file(place: Place) -> None:
    def build(root: Path) -> None:
        for mode in MODES:
            for name in ("changed", "deleted", "rewritten"):
                path = root / f"{name} {mode:o}"
                path.write_bytes(b"x")
                os.chmod(path, mode)

    def damage(root: Path) -> None:
        for mode in MODES:
            os.chmod(root / f"changed {mode:o}", mode ^ 0o640)
            (root / f"deleted {mode:o}").unlink()
            (root / f"rewritten {mode:o}").write_bytes(b"changed")

    survives(place, build, damage)


def test_restore_keeps_every_mode_bit_of_a_directory(place: Place) -> None:
    def build(root: Path) -> None:
        for mode in MODES:
            for name in ("changed", "deleted"):
                (root / f"{name} {mode:o}").mkdir()
                os.chmod(root / f"{name} {mode:o}", mode)

    def damage(root: Path) -> None:
        for mode in MODES:
            os.chmod(root / f"changed {mode:o}", mode ^ 0o750)
            os.rmdir(root / f"deleted {mode:o}")

    survives(place, build, damage)


def test_set_id_bits_survive_that_the_owner_is_put_back(place: Place) -> None:
    def build(root: Path) -> None:
        (root / "file").write_bytes(b"x")
        os.chown(root / "file", 999, 998)
        os.chmod(root / "file", 0o6755)

    def damage(root: Path) -> None:
        os.chown(root / "file", 5, 6)  # clears the set-id bits
        assert stat.S_IMODE(os.stat(root / "file").st_mode) == 0o755

    survives(place, build, damage)


def test_set_id_bits_and_capabilities_survive_that_the_contents_are_rewritten(place: Place) -> None:
    def build(root: Path) -> None:
        for name in ("file", "deleted"):
            (root / name).write_bytes(b"x" * 10_000)
            os.chown(root / name, 999, 998)
            os.chmod(root / name, 0o6755)
            os.setxattr(root / name, "security.capability", CAP_NET_BIND)

    def damage(root: Path) -> None:
        with open(root / "file", "r+b") as file:
            file.seek(5000)
            file.write(b"changed")
        assert "security.capability" not in os.listxattr(root / "file"), "a write drops capabilities"
        (root / "deleted").unlink()

    survives(place, build, damage)


@pytest.mark.parametrize(
    ("name", "value", "other"),
    [
        ("user.note", b"kept", b"changed"),
        ("user.empty", b"", b"filled"),
        ("user.bytes", bytes(range(256)), b"\0"),
        ("trusted.overlay", b"kept", b"changed"),
        ("security.capability", CAP_NET_BIND, CAP_CHOWN),
    ],
)
def test_restore_keeps_an_extended_attribute(place: Place, name: str, value: bytes, other: bytes) -> None:
    def build(root: Path) -> None:
        for file in ("changed", "removed", "rewritten"):
            (root / file).write_bytes(b"x")
            os.setxattr(root / file, name, value)

    def damage(root: Path) -> None:
        os.setxattr(root / "changed", name, other)
        os.removexattr(root / "removed", name)
        (root / "rewritten").unlink()

    survives(place, build, damage)


def test_restore_removes_attributes_that_were_added(place: Place) -> None:
    def build(root: Path) -> None:
        (root / "file").write_bytes(b"x")
        (root / "directory").mkdir()

    def damage(root: Path) -> None:
        os.setxattr(root / "file", "user.new", b"1")
        os.setxattr(root / "file", "security.capability", CAP_CHOWN)
        os.setxattr(root / "directory", "trusted.new", b"1")

    survives(place, build, damage)


def test_a_symlinks_own_attribute_comes_back(place: Place) -> None:
    def build(root: Path) -> None:
        os.symlink("nowhere", root / "link")
        os.setxattr(root / "link", "trusted.note", b"link", follow_symlinks=False)

    survives(place, build, lambda root: os.removexattr(root / "link", "trusted.note", follow_symlinks=False))


ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"


def test_restore_keeps_an_access_acl(place: Place) -> None:
    def build(root: Path) -> None:
        for name in ("changed", "removed", "masked", "deleted"):
            (root / name).write_bytes(b"x")
            os.setxattr(root / name, ACCESS, ACL_OF_7)

    def damage(root: Path) -> None:
        os.setxattr(root / "changed", ACCESS, ACL_OF_8)
        os.removexattr(root / "removed", ACCESS)
        os.chmod(root / "masked", 0o600)  # changes the mask
        (root / "deleted").unlink()

    survives(place, build, damage)


def test_restore_removes_an_acl_that_was_added_and_brings_the_group_bits_back(place: Place) -> None:
    def build(root: Path) -> None:
        (root / "file").write_bytes(b"x")
        os.chmod(root / "file", 0o640)

    survives(place, build, lambda root: os.setxattr(root / "file", ACCESS, ACL_OF_8))


def test_restore_keeps_a_default_acl_and_does_not_let_it_leak_into_what_it_makes(place: Place) -> None:
    def build(root: Path) -> None:
        (root / "d").mkdir()
        (root / "d/file").write_bytes(b"before the ACL")
        (root / "d/sub").mkdir()
        os.mkfifo(root / "d/pipe")
        os.setxattr(root / "d", DEFAULT, ACL_OF_7)
        (root / "d/heir").write_bytes(b"inherits it")

    def damage(root: Path) -> None:
        for name in ("file", "heir", "pipe"):
            (root / "d" / name).unlink()
        (root / "d/sub").rmdir()

    survives(place, build, damage)


def test_a_default_acl_on_the_root_does_not_leak_into_what_restore_makes(place: Place) -> None:
    def damage(root: Path) -> None:
        os.setxattr(root, DEFAULT, ACL_OF_8)
        (root / "file").unlink()

    survives(place, files(file=b"x"), damage)


def test_restore_keeps_modification_times_to_the_nanosecond(place: Place) -> None:
    def build(root: Path) -> None:
        (root / "d/sub").mkdir(parents=True)
        for name in ("d/file", "d/sub/file"):
            (root / name).write_bytes(b"x")
        os.symlink("x", root / "d/link")
        os.mkfifo(root / "d/pipe")
        for number, name in enumerate(("d/file", "d/sub/file", "d/link", "d/pipe", "d/sub", "d")):
            os.utime(root / name, ns=(OLD_NS, OLD_NS + number), follow_symlinks=False)

    def damage(root: Path) -> None:
        (root / "d/sub/file").write_bytes(b"y")
        (root / "d/sub/new").write_bytes(b"moves the directory's time")
        (root / "d/link").unlink()
        os.utime(root / "d/file")

    survives(place, build, damage)


def test_restore_keeps_odd_modification_times(place: Place) -> None:
    times = [-1_500_000_000, 0, 1, 999_999_999, 2_000_000_000_999_999_999]

    def build(root: Path) -> None:
        for when in times:
            (root / f"{when}").write_bytes(b"x")
            os.utime(root / f"{when}", ns=(when, when))

    survives(place, build, lambda root: [os.utime(root / f"{when}") for when in times])


def test_restore_keeps_the_roots_owner_and_mode(place: Place) -> None:
    def build(root: Path) -> None:
        os.chown(root, 999, 998)
        os.chmod(root, 0o2700)

    def damage(root: Path) -> None:
        os.chown(root, 0, 0)
        os.chmod(root, 0o755)

    survives(place, build, damage)


def test_restore_keeps_the_roots_time_and_attributes(place: Place) -> None:
    def build(root: Path) -> None:
        (root / "file").write_bytes(b"x")
        os.setxattr(root, "user.note", b"root")
        os.setxattr(root, ACCESS, ACL_OF_7)
        os.setxattr(root, DEFAULT, ACL_OF_8)
        os.utime(root, ns=(OLD_NS, OLD_NS))

    def damage(root: Path) -> None:
        for name in ("user.note", ACCESS, DEFAULT):
            os.removexattr(root, name)
        (root / "new").write_bytes(b"x")

    survives(place, build, damage)


# Names and kinds


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


# Hard links


def linked(root: Path) -> None:
    """Make a group of three names and a lone file."""
    (root / "a").write_bytes(b"shared" * 1000)
    (root / "d").mkdir()
    os.link(root / "a", root / "b")
    os.link(root / "a", root / "d/c")
    (root / "lone").write_bytes(b"alone" * 1000)


def test_hard_links_stay_one_file(place: Place) -> None:
    survives(place, linked, lambda root: (root / "b").write_bytes(b"changed through any name"))


def test_a_changed_group_of_links_is_patched_in_place(place: Place) -> None:
    tree = place.tree()
    linked(tree)
    bench = place.bench(data=tree)
    commit = bench.commit()
    before = inodes(tree)
    (tree / "b").write_bytes(b"changed through any name")
    bench.restore(commit)
    assert inodes(tree) == before


@pytest.mark.parametrize("name", ["a", "b", "d/c"])
def test_a_link_broken_apart_is_joined_again(place: Place, name: str) -> None:
    def damage(root: Path) -> None:
        (root / name).unlink()
        (root / name).write_bytes(b"shared" * 1000)

    survives(place, linked, damage)


@pytest.mark.parametrize("name", ["a", "b", "d/c"])
def test_a_name_that_was_removed_comes_back_as_a_link(place: Place, name: str) -> None:
    survives(place, linked, lambda root: (root / name).unlink())


def test_a_name_that_was_added_goes(place: Place) -> None:
    def damage(root: Path) -> None:
        os.link(root / "a", root / "0 first in order")
        os.link(root / "lone", root / "z")

    survives(place, linked, damage)


def test_links_joined_differently_are_sorted_out(place: Place) -> None:
    def damage(root: Path) -> None:
        (root / "b").unlink()
        os.link(root / "lone", root / "b")

    survives(place, linked, damage)


def test_two_groups_that_swapped_names_are_sorted_out(place: Place) -> None:
    def build(root: Path) -> None:
        linked(root)
        os.link(root / "lone", root / "lone 2")

    def damage(root: Path) -> None:
        (root / "a").rename(root / "t")
        (root / "lone").rename(root / "a")
        (root / "t").rename(root / "lone")

    survives(place, build, damage)


def test_files_that_were_linked_together_come_apart(place: Place) -> None:
    def damage(root: Path) -> None:
        (root / "two").unlink()
        os.link(root / "one", root / "two")

    survives(place, files(one=b"1" * 5000, two=b"2" * 5000), damage)


def test_a_group_moved_below_another_directory_comes_back(place: Place) -> None:
    def damage(root: Path) -> None:
        (root / "A").mkdir()
        for name in ("a", "b", "d/c"):
            (root / name).rename(root / "A" / Path(name).name)

    survives(place, linked, damage)


def test_restore_never_writes_through_a_link_to_outside_the_tree(place: Place) -> None:
    tree, outside = place.tree(), place.tree("outside")
    (tree / "file").write_bytes(b"committed" * 1000)
    bench = place.bench(data=tree)
    commit = bench.commit()
    wanted = describe(tree)
    (tree / "file").write_bytes(b"changed" * 1000)
    os.link(tree / "file", outside / "backup")
    bench.restore(commit)
    check(wanted, tree)
    assert (outside / "backup").read_bytes() == b"changed" * 1000


def test_a_file_committed_with_a_link_to_outside_comes_back_without_touching_the_outside(place: Place) -> None:
    tree, outside = place.tree(), place.tree("outside")
    (tree / "file").write_bytes(b"committed" * 1000)
    os.link(tree / "file", outside / "backup")
    bench = place.bench(data=tree)
    commit = bench.commit()
    (tree / "file").write_bytes(b"changed" * 1000)
    bench.restore(commit)
    assert (tree / "file").read_bytes() == b"committed" * 1000
    assert (outside / "backup").read_bytes() == b"changed" * 1000
    bench.restore(commit)
    assert bench.differing(commit) == []


# Staying inside the tree


def test_restore_does_not_write_through_a_symlink_that_took_a_directorys_place(place: Place) -> None:
    outside = place.tree("outside")
    (outside / "file").write_bytes(b"precious")
    (outside / "extra").write_bytes(b"precious too")
    before = describe(outside)

    def build(root: Path) -> None:
        (root / "d/sub").mkdir(parents=True)
        (root / "d/file").write_bytes(b"committed")
        (root / "d/sub/file").write_bytes(b"committed")

    def damage(root: Path) -> None:
        shutil.rmtree(root / "d")
        os.symlink(outside, root / "d")

    survives(place, build, damage)
    assert differences(before, describe(outside)) == []


def test_restore_does_not_write_through_a_symlink_that_took_a_files_place(place: Place) -> None:
    outside = place.trees / "precious"
    outside.write_bytes(b"precious")
    before = describe(outside)

    def damage(root: Path) -> None:
        (root / "file").unlink()
        os.symlink(outside, root / "file")

    survives(place, files(file=b"committed"), damage)
    assert differences(before, describe(outside)) == []


def test_removing_a_symlink_to_a_directory_leaves_the_directory(place: Place) -> None:
    outside = place.tree("outside")
    (outside / "file").write_bytes(b"precious")
    survives(place, files(file=b"x"), lambda root: os.symlink(outside, root / "new"))
    assert (outside / "file").read_bytes() == b"precious"


def test_a_commit_does_not_descend_into_other_file_systems(copying: Place) -> None:
    tree = copying.tree()
    (tree / "mounted").mkdir()
    bench = copying.bench(data=tree)
    with mounted_at(tree / "mounted"):
        (tree / "mounted/file").write_bytes(b"somebody else's")
        commit = bench.commit()
        assert bench.store.commit(bench.store.dots()[0], commit).subdots[DATA].files == 0


@contextlib.contextmanager
def mounted_at(path: Path) -> Iterator[None]:
    """Have a file system of its own at a directory."""
    if (reason := filesystems.why_not("memory")) is not None:
        pytest.skip(reason)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def test_restore_never_deletes_what_is_on_a_file_system_mounted_inside_the_tree(copying: Place) -> None:
    tree = copying.tree()
    (tree / "file").write_bytes(b"x")
    bench = copying.bench(data=tree)
    commit = bench.commit()
    (tree / "mounted").mkdir()
    with mounted_at(tree / "mounted"):
        (tree / "mounted/file").write_bytes(b"somebody else's database")
        make_socket(tree / "mounted/server.sock")
        with pytest.raises(StoreError, match="mounted"):
            bench.restore(commit)
        assert (tree / "mounted/file").read_bytes() == b"somebody else's database"
        assert (tree / "mounted/server.sock").is_socket()
    bench.restore(commit)
    assert sorted(os.listdir(tree)) == ["file"]


def test_a_root_that_is_a_symlink_means_the_directory_it_points_to(place: Place) -> None:
    real = place.tree("real")
    (real / "file").write_bytes(b"x")
    os.chown(real, 999, 999)
    os.chmod(real, 0o700)
    wanted = describe(real)
    link = place.trees / "data"
    os.symlink(real, link)
    bench = place.bench(data=link)
    commit = bench.commit()
    os.chown(real, 0, 0)
    (real / "file").write_bytes(b"y")
    (real / "new").write_bytes(b"y")
    assert bench.differing(commit) == [DATA]
    bench.restore(commit)
    check(wanted, real)
    assert os.readlink(link) == str(real)


def test_a_commit_made_in_a_directory_is_restored_through_a_symlink(place: Place) -> None:
    tree = place.tree()
    (tree / "file").write_bytes(b"x")
    wanted = describe(tree)
    bench = place.bench(data=tree)
    commit = bench.commit()
    (tree / "file").write_bytes(b"y")
    moved = place.trees / "moved"
    tree.rename(moved)
    os.symlink(moved, tree)
    bench.restore(commit)
    check(wanted, moved)
    assert tree.is_symlink()


# Sparse files


def sparse(path: Path, size: int, **at: bytes) -> None:
    """Make a file of holes with some data; keywords are offsets."""
    with open(path, "wb") as file:
        file.truncate(size)
        for offset, data in at.items():
            file.seek(int(offset.lstrip("_")))
            file.write(data)


BIG = 256 * MIB


def test_a_sparse_file_stays_sparse_in_the_store_and_after_restore(anywhere: Place) -> None:
    tree = anywhere.tree()
    sparse(tree / "file", BIG, _0=b"first", _100000000=b"middle", _268435451=b"last!")
    bench = anywhere.bench(data=tree)
    commit = bench.commit()
    stored = sum(allocated(path) for path in (anywhere.stores / "store/objects").rglob("*"))
    assert stored < MIB
    (tree / "file").unlink()
    bench.restore(commit)
    assert allocated(tree / "file") < MIB
    assert os.stat(tree / "file").st_size == BIG
    with open(tree / "file", "rb") as file:
        for offset, data in ((0, b"first"), (100_000_000, b"middle"), (BIG - 5, b"last!"), (200_000_000, b"\0" * 10)):
            assert os.pread(file.fileno(), len(data), offset) == data


def test_a_hole_is_punched_where_the_committed_file_had_one(anywhere: Place) -> None:
    tree = anywhere.tree()
    sparse(tree / "file", 8 * MIB, _0=b"first")
    bench = anywhere.bench(data=tree)
    commit = bench.commit()
    wanted = describe(tree)
    inode = os.stat(tree / "file").st_ino
    (tree / "file").write_bytes(os.urandom(8 * MIB))
    os.sync()
    assert allocated(tree / "file") >= 8 * MIB
    bench.restore(commit)
    check(wanted, tree)
    assert allocated(tree / "file") < MIB
    assert os.stat(tree / "file").st_ino == inode


@pytest.mark.parametrize("size", [0, 1, 4095, 5 * MIB + 17, 9 * MIB, 64 * MIB])
def test_a_sparse_file_that_grew_or_was_truncated_comes_back(anywhere: Place, size: int) -> None:
    def build(root: Path) -> None:
        sparse(root / "file", 8 * MIB + 123, _0=b"first", _5000000=b"middle" * 1000)

    def damage(root: Path) -> None:
        os.truncate(root / "file", size)
        with open(root / "file", "r+b") as file:
            file.seek(max(0, size - 100))
            file.write(b"end" * 10)

    survives(anywhere, build, damage)


def test_data_comes_back_where_a_hole_was_punched(anywhere: Place) -> None:
    def damage(root: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
        with open(root / "file", "r+b") as file:
            assert libc.fallocate(file.fileno(), 3, MIB, 2 * MIB) == 0

    survives(anywhere, files(file=bytes(range(256)) * 16384), damage)


# In anywhere


def test_only_the_blocks_that_differ_are_written(copying: Place) -> None:
    tree = copying.tree()
    contents = random.Random(5).randbytes(5 * MIB + 321)
    (tree / "file").write_bytes(contents)
    bench = copying.bench(data=tree)
    commit = bench.commit()
    with open(tree / "file", "r+b") as file:
        for offset in (0, 3 * MIB + 7, 5 * MIB + 320):
            file.seek(offset)
            file.write(bytes([contents[offset] ^ 1]))
    (done,) = bench.restore(commit).values()
    assert done.changed_bytes == 4096 + 4096 + 321
    assert (tree / "file").read_bytes() == contents


def test_a_patched_file_and_its_directories_keep_their_inodes(anywhere: Place) -> None:
    tree = anywhere.tree()
    zoo(tree)
    (tree / "base/large").write_bytes(os.urandom(3 * MIB))
    bench = anywhere.bench(data=tree)
    commit = bench.commit()
    before = inodes(tree)
    wanted = describe(tree)
    with open(tree / "base/large", "r+b") as file:
        file.seek(2 * MIB)
        file.write(b"!")
    for path in (tree / "base", tree / "base/16384", tree / "base/16384/7", tree / "pipe"):
        os.chmod(path, 0o777)
    os.truncate(tree / "base/16384/8", 1)
    with open(tree / "base/16384/9", "ab") as file:
        file.write(b"more" * 5000)
    bench.restore(commit)
    check(wanted, tree)
    assert inodes(tree) == before


def test_an_open_file_shows_the_restored_contents(place: Place) -> None:
    tree = place.tree()
    (tree / "file").write_bytes(b"committed")
    bench = place.bench(data=tree)
    commit = bench.commit()
    (tree / "file").write_bytes(b"changed and longer")
    with open(tree / "file", "rb") as reader:
        bench.restore(commit)
        assert reader.read() == b"committed"


def test_restored_files_do_not_change_the_commit_they_came_from(place: Place) -> None:
    tree = place.tree()
    (tree / "file").write_bytes(b"committed" * 10_000)
    bench = place.bench(data=tree)
    commit = bench.commit()
    (tree / "file").unlink()
    for _ in range(3):
        bench.restore(commit)
        assert (tree / "file").read_bytes() == b"committed" * 10_000
        with open(tree / "file", "r+b") as file:  # in place: a clone or a link must not be written through
            file.write(b"scribble")


# Changes that hide


def test_a_change_of_the_same_size_and_time_is_found(place: Place) -> None:
    tree = place.tree()
    (tree / "file").write_bytes(b"committed")
    bench = place.bench(data=tree)
    first = bench.commit()
    info = os.stat(tree / "file")
    (tree / "file").write_bytes(b"different")
    os.utime(tree / "file", ns=(info.st_atime_ns, info.st_mtime_ns))
    assert bench.differing(first) == [DATA]
    second = bench.commit()
    bench.restore(first)
    assert (tree / "file").read_bytes() == b"committed"
    bench.restore(second)
    assert (tree / "file").read_bytes() == b"different"


def test_a_file_replaced_by_another_of_the_same_size_and_time_is_found(place: Place) -> None:
    tree = place.tree()
    (tree / "file").write_bytes(b"committed")
    bench = place.bench(data=tree)
    commit = bench.commit()
    info = os.stat(tree / "file")
    (place.trees / "new").write_bytes(b"different")
    os.utime(place.trees / "new", ns=(info.st_atime_ns, info.st_mtime_ns))
    (place.trees / "new").rename(tree / "file")
    bench.restore(commit)
    assert (tree / "file").read_bytes() == b"committed"


def test_directories_that_swapped_names_are_found(place: Place) -> None:
    def build(root: Path) -> None:
        for name in ("one", "two"):
            (root / name).mkdir()
            (root / name / "file").write_bytes(name.encode())
            os.utime(root / name / "file", ns=(OLD_NS, OLD_NS))
            os.utime(root / name, ns=(OLD_NS, OLD_NS))

    def damage(root: Path) -> None:
        (root / "one").rename(root / "three")
        (root / "two").rename(root / "one")
        (root / "three").rename(root / "two")

    survives(place, build, damage)


# A second pass at the same place in a page that has not been written back leaves no time stamp anywhere.
_MAPPER = """
import mmap, sys
file = open(sys.argv[1], "r+b")
view = mmap.mmap(file.fileno(), 0)
print("mapped", flush=True)
for line in sys.stdin:
    view[100:108] = line.strip().encode()
    print("written", flush=True)
"""


def test_a_writer_that_keeps_a_page_mapped_is_found_by_every_commit(anywhere: Place) -> None:
    tree = anywhere.tree()
    (tree / "file").write_bytes(bytes(64 * 1024))
    bench = anywhere.bench(data=tree)
    commits = [bench.commit()]
    with child(_MAPPER, str(tree / "file")) as writer:
        assert writer.read() == "mapped"
        for number in range(6):
            assert writer.ask(f"write{number:03}") == "written"
            if number % 2:  # written, copied early, and written again before the capture
                commit_id = bench.prepare()
                assert writer.ask(f"again{number:03}") == "written"
                bench.store.capture(commit_id)
                commits.append(bench.publish(commit_id))
            else:
                commits.append(bench.commit())
    seen = []
    for commit in commits:
        bench.restore(commit)
        seen.append((tree / "file").read_bytes()[100:108])
    assert seen == [bytes(8), b"write000", b"again001", b"write002", b"again003", b"write004", b"again005"]


_BUSY_MAPPER = """
import mmap, sys, threading
file = open(sys.argv[1], "r+b")
view = mmap.mmap(file.fileno(), 0)
number, stop = 0, threading.Event()
def write():
    global number
    while not stop.is_set():
        number += 1
        view[100:108] = b"%08d" % number
for line in sys.stdin:
    if line == "go\\n":
        stop.clear()
        thread = threading.Thread(target=write)
        thread.start()
        print("going", flush=True)
    else:
        stop.set()
        thread.join()
        print("%08d" % number, flush=True)
"""


def test_a_mapped_page_that_is_written_all_through_prepare_is_committed_as_it_is_at_the_capture(anywhere: Place) -> None:
    tree = anywhere.tree()
    (tree / "file").write_bytes(bytes(64 * 1024))
    bench = anywhere.bench(data=tree)
    wrong = []
    with child(_BUSY_MAPPER, str(tree / "file")) as writer:
        for _ in range(12):
            assert writer.ask("go") == "going"
            commit_id = bench.prepare()
            last = writer.ask("stop").encode()
            bench.store.capture(commit_id)
            commit = bench.publish(commit_id)
            files = [path for path in (anywhere.stores / "store/objects" / commit).iterdir() if path.suffix != ".manifest"]
            objects = [path.read_bytes()[100:108] for path in files]
            if objects != [last]:
                wrong.append((last, objects))
    assert wrong == []


def test_a_writer_that_keeps_a_page_mapped_is_found_after_a_restore(place: Place) -> None:
    tree = place.tree()
    (tree / "file").write_bytes(bytes(64 * 1024))
    bench = place.bench(data=tree)
    commit = bench.commit()
    for number in range(3):
        (tree / "file").write_bytes(b"x" * 64 * 1024)
        bench.restore(commit)
        with child(_MAPPER, str(tree / "file")) as writer:
            assert writer.read() == "mapped"
            assert writer.ask(f"write{number:03}") == "written"
            assert bench.differing(commit) == [DATA]
    bench.restore(commit)
    assert (tree / "file").read_bytes() == bytes(64 * 1024)


def repeat(stamped: Place) -> int:
    """Return how often to try: often where stamps are those of whole ticks, which is where it can go wrong."""
    return {"coarse": 500, "seconds": 30}.get(stamped.name, 60)


def test_a_write_right_after_the_capture_is_never_taken_for_the_committed_state(stamped: Place) -> None:
    tree = stamped.tree()
    file = tree / "file"
    file.write_bytes(b"%08d" % 0)
    bench = stamped.bench(data=tree)
    bench.commit()
    missed = []
    for number in range(1, repeat(stamped)):
        commit_id, _ = bench.capture()
        fd = os.open(file, os.O_WRONLY)
        os.write(fd, b"%08d" % number)
        os.close(fd)
        commit = bench.publish(commit_id)
        if bench.differing(commit) != [DATA]:
            missed.append(number)
    assert missed == []


def test_a_write_right_after_a_restore_is_never_taken_for_the_committed_state(stamped: Place) -> None:
    tree = stamped.tree()
    file = tree / "file"
    file.write_bytes(b"committed")
    bench = stamped.bench(data=tree)
    commit = bench.commit()
    missed = []
    file.write_bytes(b"different")
    for number in range(repeat(stamped)):
        entry = bench.begin(commit)
        bench.store.restore(entry, DATA, {DATA: str(tree)})
        fd = os.open(file, os.O_WRONLY)
        os.write(fd, b"different")
        os.close(fd)
        bench.store.sync_restored(entry)
        bench.store.end_restore(entry)
        if bench.differing(commit) != [DATA]:
            missed.append(number)
    assert missed == []


def test_a_write_right_before_the_capture_is_in_the_commit_and_a_later_one_is_not(stamped: Place) -> None:
    tree = stamped.tree()
    file = tree / "file"
    file.write_bytes(b"-" * 8)
    bench = stamped.bench(data=tree)
    commits = {}
    fd = os.open(file, os.O_WRONLY)
    for number in range(20):
        commit_id = bench.prepare()
        os.pwrite(fd, b"%08d" % number, 0)
        bench.store.capture(commit_id)
        os.pwrite(fd, b"too late", 0)
        commits[number] = bench.publish(commit_id)
    os.close(fd)
    for number, commit in commits.items():
        bench.restore(commit)
        assert file.read_bytes() == b"%08d" % number


def test_a_scan_never_vouches_for_a_file_that_can_still_change_unseen(stamped: Place) -> None:
    file = stamped.tree() / "file"
    unseen = []
    for number in range(2000):
        file.write_bytes(b"%08d" % number)
        before = scan(str(file.parent), {})["file"]
        fd = os.open(file, os.O_WRONLY)
        os.write(fd, b"unseen!!")
        os.close(fd)
        info = os.stat(file)
        if before.ctime_ns != RACY and (before.ctime_ns, before.entry.mtime_ns) == (info.st_ctime_ns, info.st_mtime_ns):
            unseen.append(number)
    assert unseen == []


# Writers during prepare


def test_a_change_between_prepare_and_capture_is_in_the_commit(anywhere: Place) -> None:
    tree = anywhere.tree()
    for name in ("patched", "grown", "shrunk", "replaced", "untouched", "emptied"):
        (tree / name).write_bytes(random.Random(name).randbytes(300_000))
    bench = anywhere.bench(data=tree)
    commit_id = bench.prepare()
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
    bench.store.capture(commit_id)
    commit = bench.publish(commit_id)
    for item in tree.iterdir():
        item.unlink()
    bench.restore(commit)
    check(wanted, tree)


def test_a_hole_punched_between_prepare_and_capture_is_in_the_commit(place: Place) -> None:
    tree = place.tree()
    (tree / "file").write_bytes(b"x" * MIB)
    bench = place.bench(data=tree)
    commit_id = bench.prepare()
    os.truncate(tree / "file", 0)
    os.truncate(tree / "file", MIB)
    bench.store.capture(commit_id)
    commit = bench.publish(commit_id)
    (tree / "file").unlink()
    bench.restore(commit)
    assert (tree / "file").read_bytes() == bytes(MIB)
    assert allocated(tree / "file") < 64 * 1024


def test_a_file_deleted_between_prepare_and_capture_is_not_in_the_commit(place: Place) -> None:
    tree = place.tree()
    for name in ("deleted", "kept", "now a directory", "now a link"):
        (tree / name).write_bytes(name.encode() * 1000)
    bench = place.bench(data=tree)
    commit_id = bench.prepare()
    (tree / "deleted").unlink()
    (tree / "now a directory").unlink()
    (tree / "now a directory").mkdir()
    (tree / "now a link").unlink()
    os.symlink("kept", tree / "now a link")
    wanted = describe(tree)
    bench.store.capture(commit_id)
    commit = bench.publish(commit_id)
    (tree / "deleted").write_bytes(b"again")
    bench.restore(commit)
    check(wanted, tree)
    objects = [path for path in (place.stores / "store/objects" / commit).iterdir() if not path.name.endswith(".manifest")]
    assert len(objects) == 1, "the copies of files that went are not kept"


def test_a_file_created_between_prepare_and_capture_is_in_the_commit(place: Place) -> None:
    tree = place.tree()
    (tree / "old").write_bytes(b"old")
    bench = place.bench(data=tree)
    commit_id = bench.prepare()
    (tree / "d").mkdir()
    (tree / "d/new").write_bytes(b"new")
    os.link(tree / "old", tree / "a link, sorted first")
    wanted = describe(tree)
    bench.store.capture(commit_id)
    commit = bench.publish(commit_id)
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
        commit_id = bench.prepare()
        stop.set()
        writer.join()
        wanted = (tree / "file").read_bytes()
        bench.store.capture(commit_id)
        commit = bench.publish(commit_id)
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


# What cannot be restored


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
    index, done = restore_tree(str(tree), known, manifest, bench.local._objects)
    assert done.paths == 0
    assert index == known
