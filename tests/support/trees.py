"""The look of a tree, told by code that shares nothing with the code under test."""

from __future__ import annotations

import os
import socket
import stat
import struct
from pathlib import Path
from typing import Any

Description = dict[bytes, dict[str, Any]]


def describe(root: Path | str | bytes, *, contents: bool = True) -> Description:
    """Return everything that a restore has to bring back, per path relative to `root` (b"" is the root itself). No sockets."""
    top = os.fsencode(root)
    described: Description = {}
    names_of: dict[tuple[int, int], list[bytes]] = {}

    def visit(full: bytes, path: bytes) -> None:
        info = os.lstat(full)
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFSOCK:
            return
        facts: dict[str, Any] = {
            "kind": kind,
            "mode": oct(stat.S_IMODE(info.st_mode)),
            "owner": (info.st_uid, info.st_gid),
            "mtime_ns": info.st_mtime_ns,
            "xattrs": {n: os.getxattr(full, n, follow_symlinks=False) for n in os.listxattr(full, follow_symlinks=False)},
        }
        if kind == stat.S_IFREG:
            facts["size"] = info.st_size
            if contents:
                with open(full, "rb") as file:
                    facts["data"] = file.read()
            names_of.setdefault((info.st_dev, info.st_ino), []).append(path)
        elif kind == stat.S_IFLNK:
            facts["target"] = os.readlink(full)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            facts["device"] = (os.major(info.st_rdev), os.minor(info.st_rdev))
        described[path] = facts
        if kind == stat.S_IFDIR:
            for name in os.listdir(full):
                visit(os.path.join(full, name), os.path.join(path, name))

    visit(top, b"")
    for names in names_of.values():
        for name in names:
            described[name]["names"] = sorted(names)
    return described


def differences(before: Description, after: Description) -> list[str]:
    """Return readable lines about what differs, none when the trees are equal."""
    lines = []
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is None or new is None:
            lines.append(f"{path!r} is {'extra' if old is None else 'missing'}")
        elif old != new:
            for fact in sorted(old.keys() | new.keys()):
                if old.get(fact) != new.get(fact):
                    lines.append(f"{path!r} {fact}: {_brief(old.get(fact))} became {_brief(new.get(fact))}")
    return lines


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) < 120 else f"{text[:100]}... ({len(text)})"


def inodes(root: Path | str) -> dict[str, int]:
    """Return the inode of every path."""
    found = {"": os.stat(root).st_ino}
    for directory, names, files in os.walk(root):
        for name in names + files:
            full = os.path.join(directory, name)
            found[os.path.relpath(full, root)] = os.lstat(full).st_ino
    return found


def allocated(path: Path | str) -> int:
    """Return the bytes that a file takes on the disk."""
    return os.stat(path).st_blocks * 512


def make_socket(path: Path) -> None:
    """Leave a unix socket behind, as a killed server does."""
    here = os.getcwd()
    os.chdir(path.parent)  # the names of sockets may be no longer than 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def acl(*entries: tuple[int, int, int], version: int = 2) -> bytes:
    """Return the raw value of a POSIX ACL: entries of (tag, permissions, id), see linux/posix_acl_xattr.h."""
    return struct.pack("<I", version) + b"".join(struct.pack("<HHI", tag, perm, who) for tag, perm, who in entries)


ANY = 0xFFFFFFFF
USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
ACL_OF_7 = acl((USER_OBJ, 6, ANY), (USER, 7, 7), (GROUP_OBJ, 4, ANY), (MASK, 7, ANY), (OTHER, 0, ANY))
ACL_OF_8 = acl((USER_OBJ, 7, ANY), (USER, 5, 8), (GROUP_OBJ, 5, ANY), (GROUP, 4, 9), (MASK, 5, ANY), (OTHER, 1, ANY))
CAP_NET_BIND = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)  # VFS_CAP_REVISION_2 | effective
CAP_CHOWN = struct.pack("<IIIII", 0x02000001, 1 << 0, 0, 0, 0)
