"""Directories that lie within each other, and what that means for a mount beside a subdot. Pure."""

from __future__ import annotations

from collections.abc import Collection


def within(path: str, directory: str) -> bool:
    """Whether an absolute path is a directory or below it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def overlap(one: str, other: str) -> bool:
    """Whether one of two directories is the other, or below it."""
    return within(one, other) or within(other, one)


def reaches(mounted: str, writable: bool, subdot: str, inner: Collection[str], volumes: str) -> bool:
    """Whether a container that has the directory `mounted` may use the files of the directory `subdot`.

    It may if the one lies within the other, with three exceptions. A directory above the subdot that cannot be written to is none
    of its business: tools that watch a machine mount all of it. A directory that has all `volumes` of the engine in it is the
    whole machine: such a container administers it, as root on it does. A directory below the subdot that belongs to an `inner`
    subdot is that one's.
    """
    if mounted == subdot:
        return True
    if within(subdot, mounted):
        return writable and not within(volumes, mounted)
    return within(mounted, subdot) and not any(within(mounted, directory) for directory in inner)
