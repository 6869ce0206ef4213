"""Walking and removing a tree by descriptors, however deep it is and whatever its writers do meanwhile."""

from __future__ import annotations

import contextlib
import operator
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dm_compose.storage.beneath import BECAME_ANOTHER, Beneath, Root, to_bytes, to_text

MAX_OPEN_LEVELS = 32  # of one walk. Eight subdots are walked at once, and many systems allow 1024 descriptors
_NAMES_ARE_TEXT = (sys.getfilesystemencoding(), sys.getfilesystemencodeerrors()) == ("utf-8", "surrogateescape")
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Listing(NamedTuple):
    """A directory that a walk has come to.

    `prefix` is its path with a slash at the end, '' for the root. `fd` is open until the walk goes on. `items` has name and entry
    of everything in it, sorted by the names' bytes; the names are as in a TreeEntry. The walk goes into those that the caller
    puts into `enter`.
    """

    prefix: str
    fd: int
    items: list[tuple[str, os.DirEntry[str]]]
    enter: list[str]


@dataclass
class _Level:
    """A directory above the one that a walk is in. `fd` is -1 while it is closed. `ahead` are the names to enter, last first."""

    fd: int
    identity: tuple[int, int]
    prefix: str
    ahead: list[str]


def walk(files: Beneath) -> Iterator[Listing]:
    """Yield the root and then all directories that the caller wants to enter, each before those in it, in the order of names.

    A directory that has vanished or become something else is left out.
    """
    levels: list[_Level] = []
    fd, prefix = os.open(b".", _FLAGS, dir_fd=files.fd), ""
    try:
        while True:
            with files.naming(prefix), os.scandir(fd) as found:
                items = _in_order(found)
            listing = Listing(prefix, fd, items, [])
            yield listing
            if listing.enter:
                levels.append(_Level(fd, _identity(fd), prefix, listing.enter[::-1]))
                if len(levels) > MAX_OPEN_LEVELS:
                    _suspend(levels[-1 - MAX_OPEN_LEVELS])
            else:
                os.close(fd)
            fd = -1
            if (following := _next(files, levels)) is None:
                return
            fd, prefix = following
    finally:
        for open_fd in (fd, *(level.fd for level in levels)):
            if open_fd >= 0:
                os.close(open_fd)


def _in_order(found: Iterator[os.DirEntry[str]]) -> list[tuple[str, os.DirEntry[str]]]:
    named = [(item.name if _NAMES_ARE_TEXT else to_text(os.fsencode(item.name)), item) for item in found]
    if all(name.isascii() for name, _ in named):  # nearly always, and then both orders are the same
        named.sort(key=operator.itemgetter(0))
    else:
        named.sort(key=lambda item: to_bytes(item[0]))
    return named


def remove_tree(directory: Path) -> None:
    """Remove a directory with all that is in it, however deep that is. Nothing outside of it is removed. Idempotent.

    shutil.rmtree needs a descriptor and two frames of the stack for each level, and fails at about 500.
    """
    try:
        files = Root(str(directory)).open()
    except FileNotFoundError:
        return
    with files:
        made = []
        for prefix, fd, items, enter in walk(files):
            for name, item in items:
                if item.is_dir(follow_symlinks=False):
                    enter.append(name)
                    made.append(prefix + name)
                else:
                    with contextlib.suppress(FileNotFoundError):
                        os.unlink(item.name, dir_fd=fd)
        for path in reversed(made):
            with files.naming(path), contextlib.suppress(FileNotFoundError):
                at, last = files.at(path)
                os.rmdir(last, dir_fd=at)
    os.rmdir(directory)


def _next(files: Beneath, levels: list[_Level]) -> tuple[int, str] | None:
    while levels:
        level = levels[-1]
        if not level.ahead or not _resume(files, level):
            _suspend(levels.pop())
            continue
        name = level.ahead.pop()
        prefix = f"{level.prefix}{name}/"
        try:
            return os.open(to_bytes(name), _FLAGS | os.O_NOFOLLOW, dir_fd=level.fd), prefix
        except OSError as error:
            if error.errno not in BECAME_ANOTHER:
                error.filename = files.name(prefix)
                raise
    return None


def _resume(files: Beneath, level: _Level) -> bool:
    """Open the directory of a level again if it was closed. Return False when something else is there now."""
    if level.fd >= 0:
        return True
    try:
        level.fd = files.open(level.prefix.rstrip("/"), _FLAGS)
    except OSError as error:
        if error.errno not in BECAME_ANOTHER:
            raise
        return False
    return _identity(level.fd) == level.identity


def _suspend(level: _Level) -> None:
    if level.fd >= 0:
        os.close(level.fd)
        level.fd = -1


def _identity(fd: int) -> tuple[int, int]:
    info = os.fstat(fd)
    return info.st_dev, info.st_ino
