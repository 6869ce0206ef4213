"""Owners, modes, times and attributes come back."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.support.places import OLD_NS, Place, files, needs_root, survives
from tests.support.trees import (
    ACL_OF_7,
    ACL_OF_8,
    CAP_CHOWN,
    CAP_NET_BIND,
)

pytestmark = needs_root


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
